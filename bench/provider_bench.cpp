// What a provider costs beside the bare request it makes, and how often it logs in.
//
//   provider_bench NAME [key=value …]    settings as in application.properties; the variables of
//   the
//                                        process are the provider's
//
// Prints one JSON object a line: {"row":"opens","ours":[us …],"beside":[us …]}, a round each, in
// turn; and {"row":"log-ins","value":n} for 10,000 keys opened by a provider that has just started,
// on sixteen threads. The bare request is the provider's own, sent again by a libcurl handle that
// keeps its connection; of `pkcs11`, the module's own functions.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <stdexcept>
#include <thread>

#include <curl/curl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>

#include "net/curl_client.h"
#include "providers/catalog.h"
#include "providers/pkcs11_module.h"

namespace betrace::kms {
namespace {

constexpr int rounds = 7, calls_a_round = 150, cold_misses = 10'000, threads = 16;
const EncryptionContext context{{"keyType", "signing"}, {"tenantId", "acme"}};
CallContext call() { return CallContext::system("bench"); }

// Hands on; keeps the last call, counts those that neither use the master key (`master_key`: the
// address) nor look at it, as at Azure's challenge.
class Observed final : public HttpClient {
 public:
  Result<HttpAnswer> send(const HttpCall& call) override {
    if (call.aws ? call.aws->service != "kms"
                 : !master_key.starts_with(call.url.substr(0, call.url.find('?')))) {
      ++log_ins;
    }
    if (keep) last = call;
    return inner_->send(call);
  }
  std::atomic<int> log_ins = 0;
  std::string master_key;
  bool keep = false;
  HttpCall last;

 private:
  std::unique_ptr<HttpClient> inner_ = make_http_client();
};

class BareRequest {
 public:
  explicit BareRequest(const HttpCall& call) : curl_(curl_easy_init()), body_(call.body) {
    for (const auto& [name, value] : call.headers) {
      add_header(name, value);
    }
    if (call.aws && !call.aws->session_token.empty()) {
      add_header("X-Amz-Security-Token", call.aws->session_token);
    }
    headers_ = curl_slist_append(headers_, "Expect:");
    curl_easy_setopt(curl_, CURLOPT_URL, call.url.c_str());
    curl_easy_setopt(curl_, CURLOPT_HTTPHEADER, headers_);
    curl_easy_setopt(curl_, CURLOPT_CUSTOMREQUEST, call.method.c_str());
    curl_easy_setopt(curl_, CURLOPT_POSTFIELDS, body_.c_str());
    curl_easy_setopt(curl_, CURLOPT_NOPROXY, "*");
    if (!call.ca_file.empty()) curl_easy_setopt(curl_, CURLOPT_CAINFO, call.ca_file.c_str());
    if (call.aws) {
      const auto scope = fmt::format("aws:amz:{}:{}", call.aws->region, call.aws->service);
      const auto keys = fmt::format("{}:{}", call.aws->access_key_id,
                                    std::string_view(call.aws->secret_access_key));
      curl_easy_setopt(curl_, CURLOPT_AWS_SIGV4, scope.c_str());
      curl_easy_setopt(curl_, CURLOPT_USERPWD, keys.c_str());
    }
    curl_easy_setopt(curl_, CURLOPT_WRITEDATA, &answer_);
    curl_easy_setopt(
        curl_, CURLOPT_WRITEFUNCTION, +[](char* data, std::size_t, std::size_t size, void* into) {
          static_cast<std::string*>(into)->append(data, size);
          return size;
        });
  }
  ~BareRequest() {
    curl_easy_cleanup(curl_);
    curl_slist_free_all(headers_);
  }
  BareRequest(const BareRequest&) = delete;
  BareRequest& operator=(const BareRequest&) = delete;

  void operator()() {
    answer_.clear();
    long status = 0;
    if (curl_easy_perform(curl_) != CURLE_OK) throw std::runtime_error("the bare request failed");
    curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
      throw std::runtime_error(fmt::format("bare request: {} {}", status, answer_));
  }

 private:
  void add_header(std::string_view name, std::string_view value) {
    headers_ = curl_slist_append(headers_, fmt::format("{}: {}", name, value).c_str());
  }
  CURL* const curl_;
  curl_slist* headers_ = nullptr;
  const std::string body_;
  std::string answer_;
};

// What wrapping 32 bytes takes with the same additional data: a nonce, which is nobody else's, from
// C_GenerateRandom; C_EncryptInit; C_Encrypt.
class BareEncryption {
 public:
  BareEncryption(const std::string& module_path, const std::string& label, std::string pin) {
    auto opened = Pkcs11Module::open(module_path, "");
    if (!opened) throw std::runtime_error(opened.error().message);
    module_ = *std::move(opened);
    auto& hsm = *module_;
    CK_ULONG count = 0;
    must(hsm->C_GetSlotList(CK_TRUE, nullptr, &count));
    std::vector<CK_SLOT_ID> slots(count);
    must(hsm->C_GetSlotList(CK_TRUE, slots.data(), &count));
    must(hsm->C_OpenSession(slots.at(0), CKF_SERIAL_SESSION, nullptr, nullptr, &session_));
    const auto code =
        hsm->C_Login(session_, CKU_USER, reinterpret_cast<CK_UTF8CHAR_PTR>(pin.data()), pin.size());
    if (code != CKR_USER_ALREADY_LOGGED_IN) must(code);
    std::string name = label;
    CK_ATTRIBUTE wanted{CKA_LABEL, name.data(), name.size()};
    must(hsm->C_FindObjectsInit(session_, &wanted, 1));
    must(hsm->C_FindObjects(session_, &key_, 1, &count));
    must(hsm->C_FindObjectsFinal(session_));
  }
  void operator()() {
    CK_BYTE nonce[12] = {}, plain[32] = {}, sealed[64];
    std::string aad = R"({"keyType":"signing","tenantId":"acme"})";
    CK_GCM_PARAMS params{
        nonce,      sizeof nonce, sizeof nonce * 8, reinterpret_cast<CK_BYTE_PTR>(aad.data()),
        aad.size(), 128};
    CK_MECHANISM mechanism{CKM_AES_GCM, &params, sizeof params};
    CK_ULONG size = sizeof sealed;
    must((*module_)->C_GenerateRandom(session_, nonce, sizeof nonce));
    must((*module_)->C_EncryptInit(session_, &mechanism, key_));
    must((*module_)->C_Encrypt(session_, plain, sizeof plain, sealed, &size));
  }

 private:
  static void must(CK_RV code) {
    if (code != CKR_OK) throw std::runtime_error(pkcs11_name(code));
  }
  std::shared_ptr<Pkcs11Module> module_;
  CK_SESSION_HANDLE session_ = 0;
  CK_OBJECT_HANDLE key_ = 0;
};

using Values = std::map<std::string, std::string, std::less<>>;

struct Made {
  Observed http;
  std::unique_ptr<Provider> provider;
};

std::unique_ptr<Made> make(const std::string& name, const Values& settings) {
  auto made = std::make_unique<Made>();
  auto provider = make_provider(
      name, {.settings = [settings](std::string_view key) -> std::optional<std::string> {
               const auto found = settings.find(key);
               return found == settings.end() ? std::nullopt : std::optional(found->second);
             },
             .http = made->http,
             .clock = system_clock(),
             .environment = [](const char* variable) -> std::optional<std::string> {
               const char* value = std::getenv(variable);
               return value == nullptr ? std::nullopt : std::optional<std::string>(value);
             },
             .data_dir = "."});
  if (!provider) throw std::runtime_error(provider.error().message);
  made->provider = *std::move(provider);
  return made;
}

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return *std::move(result);
}

double median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + values.size() / 2);
  return values[values.size() / 2];
}

template <class Work>
double microseconds(Work& work) {
  const auto begun = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begun)
      .count();
}

// Has this thread run on one core after the other; on all it may again in the end.
class Cores {
 public:
  Cores() {
    if (sched_getaffinity(0, sizeof allowed_, &allowed_) != 0) throw std::runtime_error("no core");
    for (int core = 0; core < CPU_SETSIZE && two_.size() < 2; ++core) {
      if (CPU_ISSET(core, &allowed_)) two_.push_back(core);
    }
  }
  ~Cores() { sched_setaffinity(0, sizeof allowed_, &allowed_); }
  Cores(const Cores&) = delete;
  Cores& operator=(const Cores&) = delete;

  std::size_t count() const { return two_.size(); }
  void move_to(std::size_t which) const {
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(two_[which], &only);
    if (sched_setaffinity(0, sizeof only, &only) != 0) throw std::runtime_error("no such core");
  }

 private:
  cpu_set_t allowed_;
  std::vector<int> two_;
};

// In turn, call by call, on two cores; of each round the medians, the cores' mean. A provider that
// calls on a thread of its own has the other core where the bare call has this one, so that a core
// which is slower than the other would count for one of the two alone.
template <class Ours, class Bare>
void compare(Ours ours, Bare bare) {
  const Cores cores;
  const auto share = 1.0 / static_cast<double>(cores.count());
  std::vector<double> mine(rounds + 1), beside(rounds + 1);
  for (int round = 0; round <= rounds; ++round) {
    for (std::size_t core = 0; core < cores.count(); ++core) {
      cores.move_to(core);
      std::vector<double> took_ours, took_bare;
      for (int i = 0; i < calls_a_round; ++i) {
        took_bare.push_back(microseconds(bare));
        took_ours.push_back(microseconds(ours));
      }
      mine[round] += median(took_ours) * share;
      beside[round] += median(took_bare) * share;
    }
  }
  mine.erase(mine.begin());  // connections, caches
  beside.erase(beside.begin());
  fmt::print("{{\"row\":\"opens\",\"ours\":[{:.1f}],\"beside\":[{:.1f}]}}\n", fmt::join(mine, ","),
             fmt::join(beside, ","));
}

void count_log_ins(const std::string& name, const Values& settings, const Wrapping& wrapped,
                   const std::string& url) {
  const auto fresh = make(name, settings);
  fresh->http.master_key = url;
  std::atomic<int> failed = 0;
  {
    std::vector<std::jthread> callers;
    for (int i = 0; i < threads; ++i) {
      callers.emplace_back([&] {
        for (int n = 0; n < cold_misses / threads; ++n) {
          if (!fresh->provider->decrypt(call(), wrapped, context)) ++failed;
        }
      });
    }
  }
  if (failed != 0) throw std::runtime_error(fmt::format("{} keys were not opened", failed.load()));
  fmt::print("{{\"row\":\"log-ins\",\"value\":{}}}\n", fresh->http.log_ins.load());
}

void measure(const std::string& name, const Values& settings) {
  const auto made = make(name, settings);
  Provider& provider = *made->provider;
  const DataKey key = must(provider.generate_data_key(call(), context));
  if (name == "pkcs11") {
    BareEncryption bare(settings.at("pkcs11.module"), settings.at("pkcs11.key-label"),
                        settings.at("pkcs11.pin"));
    compare([&] { must(provider.encrypt(call(), Bytes(32), context)); }, bare);
    return;
  }
  made->http.keep = true;
  must(provider.decrypt(call(), key.wrapped, context));
  made->http.keep = false;
  BareRequest bare(made->http.last);
  compare([&] { must(provider.decrypt(call(), key.wrapped, context)); }, [&] { bare(); });
  count_log_ins(name, settings, key.wrapped, made->http.last.url);
}

}  // namespace
}  // namespace betrace::kms

int main(int count, char** words) try {
  if (count < 2) throw std::runtime_error("provider_bench NAME [key=value …]");
  betrace::kms::Values settings;
  for (int i = 2; i < count; ++i) {
    const std::string word = words[i];
    settings[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
  }
  betrace::kms::measure(words[1], settings);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "provider_bench: %s\n", error.what());
  return 1;
}

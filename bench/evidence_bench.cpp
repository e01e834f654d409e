// The evidence log beside SHA-256 of the same leaves: in batches of 512, each on the disk before
// the next, with a checkpoint every 20: evidence_bench FOLDER prints a JSON object of microseconds
// a leaf. evidence_bench JSON PROTOBUF writes a request of OTLP as protobuf, and prints
// microseconds of an item read, brought into its canonical form, and hashed. Without arguments:
// microseconds of one Ed25519 verification of 400 bytes.
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <future>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include <boost/json/monotonic_resource.hpp>
#include <boost/json/object.hpp>
#include <fmt/format.h>

#include "app/hardening.h"
#include "base/crypto.h"
#include "base/encoding.h"
#include "evidence/evidence_log.h"
#include "evidence/otlp_mapping.h"
#include "evidence/span.h"

namespace betrace::kms {
namespace {

constexpr std::size_t batch = 512, leaf_bytes = 700;
constexpr int batches = 2000;

double processor_seconds() {
  timespec spent{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
  return static_cast<double>(spent.tv_sec) + 1e-9 * static_cast<double>(spent.tv_nsec);
}

double seconds_since(std::chrono::steady_clock::time_point begun) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

std::vector<EvidenceLog::Leaf> leaves_of(const TenantId& tenant, int number) {
  std::vector<EvidenceLog::Leaf> leaves;
  for (std::size_t i = 0; i < batch; ++i) {
    auto text = fmt::format("{{\"n\":{},\"i\":{}", number, i);
    text.resize(leaf_bytes, 'x');
    leaves.push_back({.tenant = tenant, .bytes = std::move(text)});
  }
  return leaves;
}

void append(EvidenceLog& log, std::vector<EvidenceLog::Leaf> leaves) {
  std::promise<bool> done;
  log.append(std::move(leaves), {},
             [&](const auto& written) { done.set_value(written.has_value()); });
  if (!done.get_future().get()) throw std::runtime_error("the leaves were not written");
}

int measure_append(const std::string& folder) {
  Metrics metrics("bench");
  const LogKeySeal seal{
      .seal = [](const SecretBytes& secret) -> Result<Bytes> {
        return Bytes(secret.expose().begin(), secret.expose().end());
      },
      .open = [](ByteView sealed) -> Result<SecretBytes> { return SecretBytes::copy_of(sealed); }};
  auto log = EvidenceLog::open({.folder = folder + "/evidence"},
                               {.seal = seal, .clock = system_clock(), .metrics = metrics})
                 .value();
  const auto tenant = TenantId::parse("acme").value();
  append(*log, leaves_of(tenant, -1));
  double wall = 0, spent = 0, hashing = 0, publishing = 0;
  for (int n = 0; n < batches; ++n) {
    auto leaves = leaves_of(tenant, n);
    const auto hash_begun = processor_seconds();
    for (const auto& leaf : leaves) (void)sha256(as_bytes(leaf.bytes));
    const auto begun = processor_seconds();
    hashing += begun - hash_begun;
    const auto wall_begun = std::chrono::steady_clock::now();
    append(*log, std::move(leaves));
    wall += seconds_since(wall_begun);
    spent += processor_seconds() - begun;
    if (n % 20 != 19) continue;
    const auto publish_begun = processor_seconds();
    if (!log->publish()) return EXIT_FAILURE;
    publishing += processor_seconds() - publish_begun;
  }
  const auto count = static_cast<double>(batch) * batches;
  std::cout << fmt::format(R"({{"leaves":{},"sha256_us":{},"append_cpu_us":{},"append_wall_us":{},)"
                           R"("publish_cpu_us":{}}})",
                           count, 1e6 * hashing / count, 1e6 * spent / count, 1e6 * wall / count,
                           1e6 * publishing / count);
  return EXIT_SUCCESS;
}

int measure_otlp(const char* json, const char* protobuf) {
  constexpr int rounds = 200;
  std::ifstream in(json, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(in), {});
  const auto body = OtlpRequest::decode(OtlpSignal::traces, OtlpEncoding::json, text)->encode();
  std::ofstream(protobuf, std::ios::binary) << body;
  std::size_t items = 0;
  const auto begun = processor_seconds();
  for (int i = 0; i < rounds; ++i) {
    const auto request = OtlpRequest::decode(OtlpSignal::traces, OtlpEncoding::protobuf, body);
    boost::json::monotonic_resource memory;
    for (std::size_t item = 0; item < request->items(); ++item) {
      WipedString canonical;
      CanonicalFields(compliance_span_of(*request, item, &memory).value()).append_to(canonical);
      (void)sha256(as_bytes(canonical));
    }
    items += request->items();
  }
  std::cout << 1e6 * (processor_seconds() - begun) / static_cast<double>(items) << '\n';
  return EXIT_SUCCESS;
}

int measure_verification() {
  constexpr int rounds = 20'000;
  const auto key = ed25519_key_from_seed(SecretBytes::random(32));
  const Bytes payload(400, 'x');
  SignJob signing{.key = &key, .payload = payload};
  sodium_signer().sign({&signing, 1});
  const auto begun = processor_seconds();
  for (int i = 0; i < rounds; ++i) {
    VerifyJob job{
        .public_key = ed25519_public_half(key), .payload = payload, .signature = signing.signature};
    sodium_signer().verify({&job, 1});
    if (!job.valid) return EXIT_FAILURE;
  }
  std::cout << 1e6 * (processor_seconds() - begun) / rounds << '\n';
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace betrace::kms

int main(int argc, char** argv) {
  betrace::kms::tune_heap();  // as the daemon's
  if (argc == 3) return betrace::kms::measure_otlp(argv[1], argv[2]);
  return argc == 2 ? betrace::kms::measure_append(argv[1]) : betrace::kms::measure_verification();
}

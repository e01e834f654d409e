#include "core/membership.h"

#include <algorithm>

#include <fmt/format.h>
#include <unistd.h>

#include "base/try.h"

namespace betrace::kms {
namespace {

using std::chrono::milliseconds;

// How long a read is good for; less than `settling`, whatever the clocks' grain.
constexpr milliseconds read_is_good_for{400};
// The clock that is asked whether keys may be used is up to 4 ms late.
constexpr milliseconds margin{50};

}  // namespace

std::string Membership::make_node_name() {
  char host[256] = {};
  if (::gethostname(host, sizeof(host) - 1) != 0) host[0] = '\0';
  const auto unique = KeyId::generate(system_clock().now()).str();
  return fmt::format("{}/{}/{}", host, ::getpid(), unique.substr(unique.size() - 8));
}

Membership::Membership(Parts parts, std::string node, milliseconds lease)
    : parts_(parts),
      node_(std::move(node)),
      lease_(lease),
      usable_until_(parts_.clock.steady_now()) {}

Membership::~Membership() {
  for (auto& each : waiting_) {
    each.done(fail(ErrorCode::overloaded,
                   "the service stops; the change is made, and other daemons on the store may "
                   "apply it a little later"));
  }
}

Status Membership::beat() {
  const auto started = parts_.clock.steady_now();
  const auto followed = TRY(parts_.keys.follow_changes());
  behind_ = behind_ || followed.dropped;
  usable_until_ = std::max(usable_until_, started + read_is_good_for);
  const auto said = say_alive(started, followed);
  parts_.keys.set_usable_until(usable_until_);
  TRY(said);
  return answer_those_who_wait();
}

Status Membership::say_alive(std::chrono::steady_clock::time_point started,
                             const KeyServiceImpl::Followed& followed) {
  if (!behind_ && said_at_ && started < *said_at_ + lease_ / 3) return {};
  TRY(parts_.store.coordination().beat(CallContext::system("alive"), node_, followed.generation,
                                       lease_));
  usable_until_ = std::max(usable_until_, started + lease_ - margin);
  said_at_ = started;
  behind_ = false;
  return {};
}

void Membership::when_applied(const CallContext& call, Done<void> done) {
  const auto generation = parts_.store.generation(call);
  if (!generation) return done(std::unexpected(generation.error()));
  const std::lock_guard lock(mutex_);
  waiting_.push_back({.generation = *generation,
                      .not_before = parts_.clock.steady_now() + settling,
                      .done = std::move(done)});
}

Status Membership::answer_those_who_wait() {
  const auto now = parts_.clock.steady_now();
  std::uint64_t generation = 0;
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.empty()) return {};
    generation = waiting_.front().generation;  // in order: the first is the smallest
  }
  const auto behind = TRY(
      parts_.store.coordination().nodes_behind(CallContext::system("alive"), node_, generation));
  if (!behind.empty()) return {};
  std::vector<Waiting> answered;
  {
    const std::lock_guard lock(mutex_);
    const auto rest = std::ranges::partition(waiting_, [&](const Waiting& each) {
      return each.generation > generation || now < each.not_before;
    });
    std::ranges::move(rest, std::back_inserter(answered));
    waiting_.erase(rest.begin(), rest.end());
    std::ranges::sort(waiting_, {}, &Waiting::generation);
  }
  for (auto& each : answered) each.done({});
  return {};
}

void Membership::leave() {
  // What remains is only waited for until the lease ends.
  if (const auto left = parts_.store.coordination().leave(CallContext::system("alive"), node_)) {
    said_at_.reset();
  }
}

}  // namespace betrace::kms

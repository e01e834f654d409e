#include <cstdio>

#include <betrace/kms/service.h>

using namespace betrace::kms;

int main(int argc, char** argv) {
  const auto service = Service::open({{"betrace.kms.data-dir", argc > 1 ? argv[1] : "data"}});
  if (!service) return std::fprintf(stderr, "%s\n", service.error().message.c_str()), 2;
  KeyService& keys = (*service)->keys();
  const auto call = CallContext::system("example");
  const auto acme = TenantId::parse("acme").value();
  const std::uint8_t text[] = {'e', 'v', 'i', 'd', 'e', 'n', 'c', 'e'};
  const ByteView payload(text);

  wait<TenantDescription>([&](auto done) {
    keys.create_tenant(call, acme, std::move(done));
  }).value();
  const auto signatures = wait<std::vector<Result<Signature>>>(
      [&](auto done) { keys.sign(call, acme, {&payload, 1}, std::move(done)); });
  for (const auto byte : signatures->front()->bytes) std::printf("%02x", byte);
}

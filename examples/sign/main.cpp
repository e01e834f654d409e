#include <cstdio>

#include <betrace/kms/service.h>

using namespace betrace::kms;
int main(int argc, char** argv) {
  const auto service = Service::open({{"betrace.kms.data-dir", argc > 1 ? argv[1] : "data"}});
  if (!service) return std::fprintf(stderr, "%s\n", service.error().message.c_str()), 2;
  KeyService& keys = (*service)->keys();
  const auto call = CallContext::system("example");
  const auto acme = TenantId::parse("acme").value();
  const std::uint8_t payload[] = {'e', 'v', 'i', 'd', 'e', 'n', 'c', 'e'};
  const ByteView payloads[] = {payload};
  const auto made =
      wait<TenantDescription>([&](auto done) { keys.create_tenant(call, acme, std::move(done)); });
  if (!made) return std::fprintf(stderr, "%s\n", made.error().message.c_str()), 1;
  const auto signatures = wait<std::vector<Result<Signature>>>(
      [&](auto done) { keys.sign(call, acme, payloads, std::move(done)); });
  for (const auto byte : signatures.value()[0].value().bytes) std::printf("%02x", byte);
}

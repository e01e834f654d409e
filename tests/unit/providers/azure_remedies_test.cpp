#include "providers/azure_remedies.h"

#include <gtest/gtest.h>

namespace betrace::kms {
namespace {

std::string all(const Advice& advice) {
  std::string text = advice.cause + "\n";
  for (const auto& command : advice.commands) text += command + "\n";
  return text;
}

AzureSettings settings_of(std::string uri, std::string client_id = {}) {
  AzureSettings settings;
  settings.uri = std::move(uri);
  settings.key = "master";
  settings.client_id = std::move(client_id);
  return settings;
}

std::string advised(const AzureSettings& settings, TroubleKind kind, std::string type,
                    std::string message = {}) {
  const Error error{
      .code = ErrorCode::kms_access_denied, .message = std::move(message), .type = std::move(type)};
  return all(AzureRemedies(settings).advise({.kind = kind, .error = &error}));
}

testing::AssertionResult holds(const std::string& text, const std::string& part) {
  if (text.contains(part)) return testing::AssertionSuccess();
  return testing::AssertionFailure() << '"' << part << "\" is not in:\n" << text;
}

const auto acme = settings_of("https://acme.vault.azure.net");
const auto hsm = settings_of("https://acme.managedhsm.azure.net");

TEST(AzureRemedies, GrantTheRoleToWhomAzureNamesOnWhatItNames) {
  const auto text = advised(
      acme, TroubleKind::access_denied, "ForbiddenByRbac",
      "Caller is not authorized to perform action on resource.  Caller: "
      "appid=22222222-0000-0000-0000-000000000000;oid=33333333-0000-0000-0000-000000000000;"
      "iss=https://sts.windows.net/t/  Action: 'Microsoft.KeyVault/vaults/keys/wrap/action'  "
      "Resource: '/subscriptions/s/resourcegroups/r/providers/microsoft.keyvault/vaults/acme/keys/"
      "master'  Assignment: (not found)");
  EXPECT_TRUE(holds(text,
                    "az role assignment create --role 'Key Vault Crypto Service Encryption User' "
                    "--assignee-object-id 33333333-0000-0000-0000-000000000000 --scope "
                    "/subscriptions/s/resourcegroups/r/providers/microsoft.keyvault/vaults/acme/"
                    "keys/master\n"));
}

TEST(AzureRemedies, PutNothingOfAServersIntoAShellThatIsNotAPlainWord) {
  const auto text = advised(acme, TroubleKind::access_denied, "ForbiddenByRbac",
                            "Caller: oid=$(reboot);iss=x Resource: '/s;reboot'");
  EXPECT_FALSE(text.contains("reboot")) << text;
  EXPECT_TRUE(holds(text,
                    "--assignee \"$PRINCIPAL_ID\" --scope \"$(az keyvault show --name acme --query "
                    "id --output tsv)/keys/master\""));
}

TEST(AzureRemedies, KnowThePrincipalOfTheConfiguration) {
  EXPECT_TRUE(holds(advised(settings_of("https://acme.vault.azure.net", "my-app"),
                            TroubleKind::access_denied, "ForbiddenByRbac"),
                    "--assignee my-app "));
}

TEST(AzureRemedies, SetAnAccessPolicyWhereTheVaultHasThose) {
  EXPECT_TRUE(holds(advised(acme, TroubleKind::access_denied, "AccessDenied",
                            "The user, group or application 'appid=a;oid=o-1;numgroups=0' does not "
                            "have keys wrapKey permission on key vault 'acme;location=westeurope'"),
                    "az keyvault set-policy --name acme --object-id o-1 --key-permissions get "
                    "wrapKey unwrapKey"));
}

TEST(AzureRemedies, GrantTheLocalRoleOfAManagedHsm) {
  EXPECT_TRUE(holds(advised(hsm, TroubleKind::access_denied, "ForbiddenByRbac", "oid=o-1;"),
                    "az keyvault role assignment create --hsm-name acme --role 'Managed HSM Crypto "
                    "Service Encryption User' --assignee-object-id o-1 --scope /keys/master"));
  EXPECT_EQ(AzureRemedies(hsm).permission("encrypt"),
            "Microsoft.KeyVault/managedHsm/keys/wrap/action");
  EXPECT_EQ(AzureRemedies(hsm).permission("decrypt"),
            "Microsoft.KeyVault/managedHsm/keys/unwrap/action");
  EXPECT_EQ(AzureRemedies(hsm).permission("describe_key"),
            "Microsoft.KeyVault/managedHsm/keys/read/action");
}

TEST(AzureRemedies, LookAtTheNetworkRulesAndNotAtRoles) {
  for (const auto* type : {"ForbiddenByFirewall", "ForbiddenByConnection"}) {
    const auto text = advised(acme, TroubleKind::access_denied, type,
                              "Public network access is disabled. Caller: oid=o-1;");
    EXPECT_TRUE(holds(text, "az keyvault network-rule list --name acme\n"));
    EXPECT_FALSE(text.contains("role assignment")) << text;
  }
}

TEST(AzureRemedies, TellCredentialsFromRoles) {
  for (const auto* type : {"", "Unauthorized"}) {
    const auto text = advised(acme, TroubleKind::access_denied, type);
    EXPECT_TRUE(holds(text, "the credentials are missing, wrong or expired"));
    EXPECT_FALSE(text.contains("role assignment")) << text;
  }
}

TEST(AzureRemedies, DoAboutAKeyWhatItsStateWants) {
  const auto of = [](const char* type, const char* message = "") {
    return advised(acme, TroubleKind::key_disabled, type, message);
  };
  const std::string id = " --id https://acme.vault.azure.net/keys/master";
  const std::string set = "az keyvault key set-attributes" + id;
  EXPECT_TRUE(holds(of("KeyDisabled"), set + " --enabled true\n"));
  EXPECT_TRUE(holds(of("KeyOperationForbidden"), set + " --ops wrapKey unwrapKey\n"));
  EXPECT_TRUE(holds(of("Forbidden", "is not allowed on an expired key."),
                    "az keyvault key rotate" + id + "\n"));
  EXPECT_TRUE(holds(of("KeyNotFound"), "az keyvault key list --id https://acme.vault.azure.net\n"));
  EXPECT_FALSE(of("KeyNotFound").contains("--enabled"));
}

TEST(AzureRemedies, BringADeletedKeyBackWhileThatIsPossible) {
  EXPECT_TRUE(holds(advised(acme, TroubleKind::key_pending_deletion, ""),
                    "az keyvault key recover --id "
                    "https://acme.vault.azure.net/deletedkeys/master\n"));
}

TEST(AzureRemedies, FollowTheWayToASilentVault) {
  EXPECT_TRUE(holds(advised(acme, TroubleKind::unreachable, ""),
                    "curl -v --max-time 5 https://acme.vault.azure.net/keys\n"));
}

}  // namespace
}  // namespace betrace::kms

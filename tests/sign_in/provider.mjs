// A real OpenID provider on loopback: panva's oidc-provider. `node provider.mjs PORT`
//
// Anybody may sign in with any name and password; ACCOUNTS has the claims of some. Its clients may be on any port of
// 127.0.0.1, as RFC 8252 lets native ones be. PUT /test/claims with a JSON object adds claims to everybody's.
// GET /test/tokens returns how many requests the token endpoint has had.
import { createServer } from "node:http";
import { generateKeyPairSync } from "node:crypto";
import Provider from "oidc-provider";

const port = Number(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;
const callback = "http://127.0.0.1/dashboard/sign-in/callback";
const ACCOUNTS = {
  root: { name: "Root", groups: ["admins", "staff"] },
  ada: { name: "Ada", groups: ["staff"], teams: ["blue"], leads: ["blue"] },
  bob: { name: "Bob", groups: ["staff"], teams: ["blue"] },
  dan: { name: "Dan", groups: ["staff"], teams: ["blue"] },
};
const settings = {};
let tokens = 0;
const jwk = (type, options, kid) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: "jwk" }),
  kid,
  use: "sig",
});
const client = (client_id, more) => ({
  client_id,
  application_type: "native",
  redirect_uris: [callback],
  post_logout_redirect_uris: ["http://127.0.0.1/dashboard"],
  grant_types: ["authorization_code"],
  response_types: ["code"],
  token_endpoint_auth_method: "none",
  ...more,
});
const provider = new Provider(issuer, {
  clients: [
    client("gateway", {}),
    client("other", {}),
    client("with-secret", {
      client_secret: "s3cret/+ of the tests",
      token_endpoint_auth_method: "client_secret_basic",
      id_token_signed_response_alg: "ES256",
    }),
    client("eddsa", { id_token_signed_response_alg: "EdDSA" }),
  ],
  jwks: {
    keys: [
      jwk("rsa", { modulusLength: 2048 }, "rsa"),
      jwk("ec", { namedCurve: "P-256" }, "ec"),
      jwk("ed25519", {}, "ed"),
    ],
  },
  enabledJWA: { idTokenSigningAlgValues: ["RS256", "ES256", "EdDSA"] },
  claims: { openid: ["sub"], profile: ["name", "groups", "teams", "leads"], email: ["email", "email_verified"] },
  findAccount: (_, sub) => ({
    accountId: sub,
    claims: () => ({ sub, email: `${sub}@example.com`, email_verified: true, ...ACCOUNTS[sub], ...settings.claims }),
  }),
  features: { devInteractions: { enabled: true } },
  pkce: { required: () => true },
  cookies: { keys: ["of the tests"] },
});
const handle = provider.callback();
createServer((request, response) => {
  if (request.url === "/token") tokens += 1;
  if (request.url === "/test/tokens") return response.end(String(tokens));
  if (!request.url.startsWith("/test/")) return handle(request, response);
  let body = "";
  request.on("data", (part) => (body += part));
  request.on("end", () => {
    settings[request.url.slice("/test/".length)] = JSON.parse(body);
    response.writeHead(204).end();
  });
}).listen(port, "127.0.0.1", () => console.log("listening"));

// An OpenID provider for tests: npm's certified `oidc-provider`, told what to do by lines on standard input.
//
//   token KIND        a token by client credentials: `jwt`, `ec` (by ES256) or `opaque`
//   code              a JWT by authorization code: login, consent, PKCE
//   rotate            a new signing key; the old one stays published
//   retire            takes back every key but the newest
//   revoke TOKEN      RFC 7009
//   down, up          stops listening, and listens again where it did
//   counts            how often keys, discovery and introspection were asked for
//
// Every line is answered by one line of JSON. The argument is the directory of node_modules.

import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const entry = pathToFileURL(`${process.argv[2]}/node_modules/oidc-provider/lib/index.js`);
const { default: Provider } = await import(entry);

// Standard output is the protocol's.
console.info = console.warn = console.error;

const CLIENT = { id: 'edge', secret: 'introspection-secret-of-tests' };
const REDIRECT = 'http://127.0.0.1:1/callback';
const RESOURCES = {
  'urn:test:jwt': { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } },
  'urn:test:ec': { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } },
  'urn:test:opaque': { accessTokenFormat: 'opaque' },
};

const counts = { keys: 0, discovery: 0, introspection: 0 };
const PLACES = {
  '/jwks': 'keys',
  '/.well-known/openid-configuration': 'discovery',
  '/token/introspection': 'introspection',
};
let keys = [];
let handle;

const server = createServer((request, response) => {
  const place = PLACES[new URL(request.url, 'http://x').pathname];
  if (place) counts[place] += 1;
  handle(request, response);
});
await listen(0);
const { port } = server.address();
const issuer = `http://127.0.0.1:${port}`;
rotate();
say({ issuer, client: CLIENT.id, secret: CLIENT.secret });

for await (const line of createInterface({ input: process.stdin })) {
  const [command, argument] = line.split(' ');
  const commands = { token, code, rotate, retire, revoke, down, up, counts: () => counts };
  try {
    say((await commands[command](argument)) ?? {});
  } catch (error) {
    say({ error: String(error.stack) });
  }
}
process.exit(0);

function say(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

function listen(at) {
  return new Promise((resolve) => server.listen(at, '127.0.0.1', resolve));
}

function up() {
  return listen(port);
}

function down() {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  return closed.then(() => ({}));
}

function rotate() {
  const fresh = [['rsa', { modulusLength: 2048 }, 'RS256'], ['ec', { namedCurve: 'P-256' }, 'ES256']];
  const made = fresh.map(([type, options, alg]) => {
    const { privateKey } = generateKeyPairSync(type, options);
    return { ...privateKey.export({ format: 'jwk' }), kid: randomBytes(6).toString('hex'), use: 'sig', alg };
  });
  keys = [...made, ...keys];
  serve();
}

function retire() {
  keys = keys.slice(0, 2);
  serve();
}

// The provider signs by the first key that fits; its grants and tokens live in a store that all instances share.
function serve() {
  const provider = new Provider(issuer, {
    jwks: { keys },
    clients: [{
      client_id: CLIENT.id,
      client_secret: CLIENT.secret,
      grant_types: ['client_credentials', 'authorization_code'],
      redirect_uris: [REDIRECT],
      scope: 'openid orders.read orders.write',
    }],
    cookies: { keys: ['cookies of tests'] },
    scopes: ['openid', 'orders.read', 'orders.write'],
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:test:jwt',
        useGrantedResource: () => true,
        getResourceServerInfo: (_, resource) => (
          { audience: 'shop-api', scope: 'orders.read orders.write', accessTokenTTL: 600, ...RESOURCES[resource] }
        ),
      },
    },
  });
  handle = provider.callback();
}

async function post(path, form) {
  const pair = Buffer.from(`${CLIENT.id}:${CLIENT.secret}`).toString('base64');
  // Connections that are kept would be found closed after `down` and `up`.
  const headers = { authorization: `Basic ${pair}`, connection: 'close' };
  const response = await fetch(issuer + path, { method: 'POST', headers, body: new URLSearchParams(form) });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
  return text ? JSON.parse(text) : {};
}

async function token(kind) {
  const form = { grant_type: 'client_credentials', scope: 'orders.read', resource: `urn:test:${kind}` };
  return { token: (await post('/token', form)).access_token };
}

async function revoke(revoked) {
  await post('/token/revocation', { token: revoked });
}

// What a browser does, without one: redirects, cookies and two forms.
async function code() {
  const verifier = randomBytes(32).toString('base64url');
  const jar = new Map();
  const visit = async (url, form) => {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const options = { redirect: 'manual', headers: { cookie } };
    if (form) Object.assign(options, { method: 'POST', body: new URLSearchParams(form) });
    const response = await fetch(new URL(url, issuer), options);
    for (const set of response.headers.getSetCookie()) {
      const [, name, value] = set.match(/^([^=]+)=([^;]*)/);
      if (value) jar.set(name, value); else jar.delete(name);
    }
    await response.text();
    return response.headers.get('location');
  };
  const query = new URLSearchParams({
    client_id: CLIENT.id,
    redirect_uri: REDIRECT,
    response_type: 'code',
    scope: 'openid orders.read',
    resource: 'urn:test:jwt',
    code_challenge_method: 'S256',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
  });
  let place = await visit(`/auth?${query}`);
  for (const form of [{ prompt: 'login', login: 'alice', password: 'any' }, { prompt: 'consent' }]) {
    const resumed = await visit(place, form);
    place = await visit(resumed);
  }
  if (!place.startsWith(REDIRECT)) throw new Error(`no code but ${place}`);
  const given = new URL(place).searchParams.get('code');
  const form = { grant_type: 'authorization_code', code: given, redirect_uri: REDIRECT, code_verifier: verifier };
  return { token: (await post('/token', form)).access_token };
}

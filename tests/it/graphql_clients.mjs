// The clients of GraphQL that people use, against a server: graphql-sse, graphql-ws and urql (npm).
//
// Arguments: the directory that has `node_modules`, the URL of the server. Each check prints a line; the first that
// does not hold ends the process with an error.

import assert from 'node:assert/strict';
import { pathToFileURL } from 'node:url';

const [directory, url] = process.argv.slice(2);
const load = (path) => import(pathToFileURL(`${directory}/node_modules/${path}`));
const sse = await load('graphql-sse/lib/index.mjs');
const ws = await load('graphql-ws/dist/index.js');
const urql = await load('@urql/core/dist/urql-core.mjs');
const wonka = await load('wonka/dist/wonka.mjs');
const { default: WebSocket } = await load('ws/wrapper.mjs');

const QUERY = 'query ($t: String!) { latest(topic: $t) { topic number } }';
const MUTATION = 'mutation { push(topic: "a") { topic } }';
const SUBSCRIPTION = 'subscription ($t: String!) { watch(topic: $t) { topic number } }';
const LATEST = { latest: { topic: 'one', number: '7' } };
const TICKS = ['1', '2', '3'].map((number) => ({ watch: { topic: 'a', number } }));
const variables = { t: 'a' };

const results = async (iterable) => {
  const found = [];
  for await (const result of iterable) found.push(result);
  return found;
};
const data = async (iterable) => (await results(iterable)).map((result) => result.data);
const check = async (name, run) => {
  await run();
  console.log(`ok ${name}`);
};

/** What both protocols have to do, whatever carries them. */
const operations = async (name, client) => {
  const ask = (query, more) => client.iterate({ query, variables, ...more });
  await check(`${name}: a query`, async () => assert.deepEqual(await data(ask(QUERY)), [LATEST]));
  await check(`${name}: a mutation`, async () => {
    assert.deepEqual(await data(client.iterate({ query: MUTATION })), [{ push: { topic: 'one' } }]);
  });
  await check(`${name}: a subscription`, async () => assert.deepEqual(await data(ask(SUBSCRIPTION)), TICKS));
  await check(`${name}: several at once`, async () => {
    const all = await Promise.all([1, 2, 3, 4].map(() => data(ask(SUBSCRIPTION))));
    all.forEach((found) => assert.deepEqual(found, TICKS));
  });
  await check(`${name}: a subscription that fails`, async () => {
    const [failed] = await results(client.iterate({ query: SUBSCRIPTION, variables: { t: 'none' } }));
    assert.equal(failed.errors[0].extensions.code, 'NOT_FOUND');
    assert.deepEqual(failed.errors[0].path, ['watch']);
  });
  await check(`${name}: leaving early`, async () => {
    for await (const result of ask(SUBSCRIPTION)) {
      assert.equal(result.data.watch.number, '1');
      break;
    }
  });
};

{
  const client = sse.createClient({ url });
  await operations('graphql-sse', client);
  await check('graphql-sse: a document that is wrong', async () => {
    const [refused] = await results(client.iterate({ query: 'subscription { nothing }' }));
    assert.equal(refused.errors[0].extensions.code, 'GRAPHQL_VALIDATION_FAILED');
  });
  client.dispose();
}

const sockets = (more) => {
  const codes = [];
  const client = ws.createClient({
    url: url.replace('http', 'ws'),
    webSocketImpl: WebSocket,
    retryAttempts: 0,
    on: { closed: (event) => codes.push(event.code) },
    ...more,
  });
  return { client, codes };
};

{
  const { client, codes } = sockets({ connectionParams: { authorization: 'Bearer none' }, keepAlive: 50 });
  await operations('graphql-ws', client);
  await check('graphql-ws: a document that is wrong', async () => {
    const refused = await results(client.iterate({ query: 'subscription { nothing }' })).catch((errors) => errors);
    assert.equal(refused[0].extensions.code, 'GRAPHQL_VALIDATION_FAILED');
  });
  await check('graphql-ws: a normal end', async () => {
    await client.dispose();
    assert.ok(codes.every((code) => code === 1000), `${codes}`);
  });
  await check('graphql-ws: a credential that is none', async () => {
    const { client, codes } = sockets({ connectionParams: { authorization: 7 } });
    const failed = await results(client.iterate({ query: QUERY, variables })).catch((close) => close);
    assert.equal(failed.code, 4403);
    assert.deepEqual(codes, [4403]);
  });
}

/** What urql has of a subscription that another client carries. */
const forwarded = (client) => {
  const forwardSubscription = (request) => ({
    subscribe: (sink) => ({ unsubscribe: client.subscribe({ ...request, query: request.query ?? '' }, sink) }),
  });
  const exchanges = [urql.subscriptionExchange({ forwardSubscription })];
  const source = urql.createClient({ url, exchanges }).subscription(SUBSCRIPTION, variables);
  return new Promise((resolve) => {
    const seen = [];
    const full = wonka.subscribe((result) => {
      seen.push(result.data);
      if (seen.length === TICKS.length) resolve(seen);
    });
    wonka.pipe(source, wonka.take(TICKS.length), full);
  });
};

{
  const client = urql.createClient({ url, preferGetMethod: false, exchanges: [urql.fetchExchange] });
  await check('urql: a query', async () => {
    const result = await client.query(QUERY, variables).toPromise();
    assert.deepEqual([result.error, result.data], [undefined, LATEST]);
  });
  await check('urql: a mutation', async () => {
    const result = await client.mutation(MUTATION, {}).toPromise();
    assert.deepEqual([result.error, result.data], [undefined, { push: { topic: 'one' } }]);
  });
  await check('urql: an error', async () => {
    const result = await client.query('{ nothing }', {}).toPromise();
    assert.equal(result.error.graphQLErrors[0].extensions.code, 'GRAPHQL_VALIDATION_FAILED');
  });
  await check('urql: a subscription over graphql-sse', async () => {
    assert.deepEqual(await forwarded(sse.createClient({ url })), TICKS);
  });
  await check('urql: a subscription over graphql-ws', async () => {
    const { client } = sockets({});
    assert.deepEqual(await forwarded(client), TICKS);
    await client.dispose();
  });
}
process.exit(0);

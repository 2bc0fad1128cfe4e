// The audits of GraphQL over HTTP (npm: graphql-http) against a server: a line for each, and a failure where one of
// its MUST or SHOULD does not hold.
//
// Arguments: the directory that has `node_modules`, the URL of the server.

import { pathToFileURL } from 'node:url';

const [directory, url] = process.argv.slice(2);
const entry = pathToFileURL(`${directory}/node_modules/graphql-http/lib/index.js`);
const { serverAudits } = (await import(entry)).default;

let failed = false;
for (const audit of serverAudits({ url, fetchFn: fetch })) {
  const result = await audit.fn();
  console.log(`${result.status} ${audit.name}${result.reason ? `: ${result.reason}` : ''}`);
  failed ||= result.status === 'warn' || result.status === 'error';
}
process.exitCode = failed ? 1 : 0;

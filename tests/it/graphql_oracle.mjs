// graphql-js, the reference implementation, as the oracle of tests: reads JSON from standard input and answers each
// `{ sdl, documents, introspection, operations }`: what is wrong with the schema and with each document, as lists of
// messages; its own query of introspection; where an answer to that query came along, the schema that clients make of
// it beside the one of the SDL, both printed; and of operations with the replies of their root fields, those that have
// another result here than the one that is expected.
//
// Arguments: the directory that has `node_modules`.

import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const entry = pathToFileURL(`${process.argv[2]}/node_modules/graphql/index.js`);
const graphql = (await import(entry)).default;

function told(check) {
  try {
    return check().map((error) => error.message);
  } catch (error) {
    return [error.message];
  }
}

const print = (schema) => graphql.printSchema(graphql.lexicographicSortSchema(schema));

/** A value of a reply: a map is a list of entries, wherever the schema has a list. */
function value(found, type) {
  const list = graphql.isListType(graphql.getNullableType(type));
  return list && found && !Array.isArray(found) ? Object.entries(found).map(([key, value]) => ({ key, value })) : found;
}

function resolve(source, args, replies, info) {
  if (info.path.prev) return value(source[info.fieldName], info.returnType);
  const reply = replies[info.path.key];
  if (reply?.fails) throw new Error(reply.fails);
  return reply?.is;
}

const place = (error) => (error.locations ? `${error.locations[0].line}:${error.locations[0].column}` : '');

/** How the result of an operation differs from the one that is expected; null where it does not. */
function difference(schema, { document: text, variables, replies, data, errors }) {
  const document = graphql.parse(text);
  const invalid = graphql.validate(schema, document);
  if (invalid.length > 0) return data === null ? null : `${text}${invalid.map((error) => error.message).join('\n')}`;
  const result = graphql.executeSync({
    schema,
    document,
    variableValues: variables,
    contextValue: replies,
    fieldResolver: resolve,
  });
  const found = (result.errors ?? []).map((error) =>
    error.path ? `${error.path.join('.')} @${place(error)}` : `BAD_USER_INPUT ${place(error)}`,
  );
  const expected = data === null ? undefined : JSON.stringify(JSON.parse(data));
  // Without data only that it is refused is compared: for one variable several things may be wrong.
  const alike = data === null ? found.length > 0 : found.join() === errors.join();
  if (JSON.stringify(result.data) === expected && alike) return null;
  const messages = (result.errors ?? []).map((error) => error.message);
  return `${text}${JSON.stringify(result.data)}\n${found.join('\n')}\n${messages.join('\n')}`;
}

const answers = JSON.parse(readFileSync(0, 'utf8')).map(({ sdl, documents, introspection, operations = [] }) => {
  let schema;
  const problems = told(() => {
    schema = graphql.buildSchema(sdl);
    return graphql.validateSchema(schema);
  });
  const verdicts = documents.map((text) => told(() => graphql.validate(schema, graphql.parse(text))));
  const query = graphql.getIntrospectionQuery({
    directiveIsRepeatable: true,
    inputValueDeprecation: true,
    oneOf: true,
    schemaDescription: true,
    specifiedByUrl: true,
  });
  const printed = introspection && [print(graphql.buildClientSchema(introspection)), print(schema)];
  const differences = operations.map((one) => difference(schema, one)).filter((one) => one !== null);
  return { problems, verdicts, query, printed, differences };
});
console.log(JSON.stringify(answers));

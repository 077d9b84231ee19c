// TypeScript chunkr-ai 0.1.0-alpha.14, as it comes, against a server with one worker.
// Arguments: URL, key, other key.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

// The package lies where NODE_PATH says, which `import` does not ask.
const { default: Chunkr } = createRequire(import.meta.url)('chunkr-ai');

const [url, key, otherKey] = process.argv.slice(2);
const chunkr = new Chunkr({ baseURL: url, apiKey: key });
const other = new Chunkr({ baseURL: url, apiKey: otherKey });
const file = 'data:text/plain;base64,' + Buffer.from('one two three four five six seven.').toString('base64');

const create = (target) => chunkr.tasks.parse.create({ file, chunk_processing: { target_length: target } });

async function until(task, done) {
  while (!done(task)) {
    await new Promise((wake) => setTimeout(wake, 50));
    task = await chunkr.tasks.get(task.task_id);
  }
  return task;
}

const refused = (status) => (error) => {
  assert.equal(error.status, status);
  assert.match(error.headers.get('content-type'), /^text\/plain/);
  return true;
};

assert.equal(await chunkr.health.check(), 'OK');

const first = await create(3);
assert.equal(first.status, 'Starting');
await until(first, (task) => task.status === 'Processing');

// The worker is busy: what comes next waits.
const second = await create(3);
await assert.rejects(other.tasks.cancel(second.task_id), refused(404));
await chunkr.tasks.cancel(second.task_id);
assert.equal((await chunkr.tasks.get(second.task_id)).status, 'Cancelled');
await assert.rejects(chunkr.tasks.cancel(second.task_id), refused(400));

const done = await until(first, (task) => task.completed);
assert.equal(done.status, 'Succeeded');
assert.deepEqual(done.output.chunks.map((chunk) => chunk.content), ['one two three', 'four five six', 'seven.']);
assert.deepEqual(await chunkr.tasks.parse.get(first.task_id), done);

const ids = [];
for await (const task of chunkr.tasks.list()) ids.push(task.task_id);
assert.deepEqual(ids, [second.task_id, first.task_id]);

await chunkr.tasks.delete(first.task_id);
await assert.rejects(chunkr.tasks.get(first.task_id), refused(404));
await assert.rejects(new Chunkr({ baseURL: url, apiKey: 'wrong' }).tasks.list(), refused(401));
console.log('ok');

// BullMQ over a cluster: jobs of every kind are done once each. usage: node queue.mjs PORT
import assert from "node:assert/strict";
import { Cluster } from "ioredis";
import { FlowProducer, Queue, QueueEvents, Worker } from "bullmq";

const port = Number(process.argv[2]);
const connect = () => new Cluster([{ host: "127.0.0.1", port }], { redisOptions: { maxRetriesPerRequest: null } });
const connections = [];
const options = () => {
  const connection = connect();
  connections.push(connection);
  return { connection, prefix: "{bull}" };
};

const queue = new Queue("work", options());
const events = new QueueEvents("work", options());
const flows = new FlowProducer(options());
await events.waitUntilReady();

const done = new Map();
const attempts = new Map();
const order = [];
let heard = 0;
events.on("completed", () => heard++);
const handle = async (job) => {
  if (job.name === "flaky") {
    const tries = (attempts.get(job.data.n) ?? 0) + 1;
    attempts.set(job.data.n, tries);
    if (tries < 3) throw new Error("not yet");
  }
  if (job.name === "ranked") order.push(job.data.n);
  await job.updateProgress(50);
  done.set(job.id, (done.get(job.id) ?? 0) + 1);
  return { square: (job.data.n ?? 0) ** 2 };
};

// Priorities: queued before any worker is there, done in order by a worker of one.
for (const n of [5, 1, 4, 2, 3]) await queue.add("ranked", { n }, { priority: n });
const single = new Worker("work", handle, { ...options(), concurrency: 1 });
const until = async (what, condition) => {
  const end = Date.now() + 60_000;
  while (!(await condition())) {
    assert.ok(Date.now() < end, `timed out: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};
await until("ranked jobs", () => order.length === 5);
assert.deepEqual(order, [1, 2, 3, 4, 5]);
await single.close();

const workers = [1, 2].map(() => new Worker("work", handle, { ...options(), concurrency: 10 }));
const plain = await queue.addBulk(
  Array.from({ length: 500 }, (_, n) => ({ name: "plain", data: { n } })),
);
const delayed = await Promise.all(
  Array.from({ length: 20 }, (_, n) => queue.add("delayed", { n }, { delay: 50 + 20 * n })),
);
const flaky = await Promise.all(
  Array.from({ length: 20 }, (_, n) =>
    queue.add("flaky", { n }, { attempts: 5, backoff: { type: "fixed", delay: 20 } })),
);
const flow = await flows.add({
  name: "parent",
  queueName: "work",
  data: { n: 7 },
  children: [1, 2, 3].map((n) => ({ name: "child", queueName: "work", data: { n } })),
});

const expected = 5 + plain.length + delayed.length + flaky.length + 4;
await until("all jobs", () => done.size === expected);
await until("the counts", async () => (await queue.getJobCounts("completed")).completed === expected);
await until("the events", () => heard >= expected - 5);
assert.ok([...done.values()].every((times) => times === 1), "every job is done once");
assert.ok([...attempts.values()].every((tries) => tries === 3));
const counts = await queue.getJobCounts("wait", "active", "delayed", "failed", "prioritized", "waiting-children");
assert.ok(Object.values(counts).every((count) => count === 0), JSON.stringify(counts));
assert.equal((await queue.getJob(plain[12].id)).returnvalue.square, 144);
assert.equal(Object.keys(await flow.job.getChildrenValues()).length, 3);

await Promise.all(workers.map((worker) => worker.close()));
await queue.obliterate({ force: true });
await Promise.all([queue.close(), events.close(), flows.close()]);
await Promise.all(connections.map((connection) => connection.quit().catch(() => {})));
console.log(`ok: ${expected} jobs`);
process.exit(0);

// Runs the inference as a WebAssembly module in Node.js. Reads the module, the weights and the images, writes the results:
//
//     node module.mjs MODULE WEIGHTS IMAGES RESULTS ROUNDS|outputs
//
// The module says how long an input and a record are; firmware-demo/src/protocol.rs describes the latter, and `outputs`.
import { openSync, readFileSync, writeSync } from "node:fs";

/** Images between two writes, by which the results show how far it is. */
const BATCH = 64;

function fail(why) {
    console.error(why);
    process.exit(1);
}

const [module, weights, images, results, task] = process.argv.slice(2);
const compiled = await WebAssembly.compile(readFileSync(module));
const imports = WebAssembly.Module.imports(compiled).map(({ name }) => name);
if (imports.length > 0) {
    fail(`the module needs ${imports.join(", ")}; it should need nothing`);
}
const device = (await WebAssembly.instantiate(compiled)).exports;
const memory = new Uint8Array(device.memory.buffer);

const model = readFileSync(weights);
if (model.length !== device.weights_bytes()) {
    fail(`${model.length} bytes where a model of the module has ${device.weights_bytes()}`);
}
memory.set(model, device.weights());
const INPUT = device.input_bytes();
if (!device.load()) {
    fail("the module refuses the weights");
}
const [bytes, place] =
    task === "outputs" ? [device.outputs_bytes(), device.outputs] : [device.record_bytes(), device.record];
const rounds = task === "outputs" ? 1 : Number(task);
const inputs = readFileSync(images);
const output = openSync(results, "w");
for (let round = 0; round < rounds; round += 1) {
    for (let start = 0; start < inputs.length; start += BATCH * INPUT) {
        const records = [];
        for (let at = start; at < Math.min(inputs.length, start + BATCH * INPUT); at += INPUT) {
            memory.set(inputs.subarray(at, at + INPUT), device.input());
            device.classify();
            const record = place();
            records.push(memory.slice(record, record + bytes));
        }
        writeSync(output, Buffer.concat(records));
    }
}

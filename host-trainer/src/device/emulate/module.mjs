// Runs the inference as a WebAssembly module in Node.js. Reads the module, the weights and the images, writes the results:
//
//     node module.mjs MODULE WEIGHTS IMAGES RESULTS
//
// Images are 784 bytes each; results are the records that firmware-demo/src/protocol.rs describes.
import { openSync, readFileSync, writeSync } from "node:fs";

const PIXELS = 784;
const RECORD = 44;
/** Images between two writes, by which the results show how far it is. */
const BATCH = 64;

function fail(why) {
    console.error(why);
    process.exit(1);
}

const [module, weights, images, results] = process.argv.slice(2);
const compiled = await WebAssembly.compile(readFileSync(module));
const imports = WebAssembly.Module.imports(compiled).map(({ name }) => name);
if (imports.length > 0) {
    fail(`the module needs ${imports.join(", ")}; it should need nothing`);
}
const device = (await WebAssembly.instantiate(compiled)).exports;
const memory = new Uint8Array(device.memory.buffer);

memory.set(readFileSync(weights), device.weights());
if (!device.load()) {
    fail("the module refuses the weights");
}
const pixels = readFileSync(images);
const output = openSync(results, "w");
for (let start = 0; start < pixels.length; start += BATCH * PIXELS) {
    const records = [];
    for (let at = start; at < Math.min(pixels.length, start + BATCH * PIXELS); at += PIXELS) {
        memory.set(pixels.subarray(at, at + PIXELS), device.image());
        device.classify();
        const record = device.record();
        records.push(memory.slice(record, record + RECORD));
    }
    writeSync(output, Buffer.concat(records));
}

//! Properties that no single crate can promise alone, one module each.
//!
//! | module | what belongs there |
//! |---|---|
//! | [`arch`] | every core and path gives the same bits within its budget of instructions |
//! | [`assembly`] | a second assembler makes the same code |
//! | [`boards`] | each board's firmware builds, lies in its memories and can be booted |
//! | [`costs`] | the instructions that `plan` predicts are those that are counted, by family and core |
//! | [`cuda`] | the CUDA engine without a GPU, on the CPU build of its kernels, and with one |
//! | [`cuda_build`] | the CPU build of the kernels: how it is compiled, with sanitizers too, and how a test runs on it |
//! | [`cuda_operations`] | each CUDA kernel against the reference engine's twin of its operation |
//! | [`device_faults`] | the device panics, faults, runs out of stack, hangs: a reason on the log and an exit code |
//! | [`device_networks`] | other networks than LeNet on every emulated machine, layer by layer; what a machine cannot hold |
//! | [`differential`] | fast paths against the portable one at the edges of what the proofs allow; flipped bits are seen |
//! | [`emulator`] | the firmware: host and emulator agree to the last bit, exit codes, log, refused builds |
//! | [`engine_suite`] | what every engine must do, as functions over `&mut dyn Engine` |
//! | [`engines`] | the engines that the suite is stamped onto, each with its tolerances |
//! | [`exchange`] | models to and from PyTorch and ONNX: PyTorch's files import, ONNX Runtime computes our logits |
//! | [`hostile_input`] | files from outside, damaged and forged: refused with a reason, or harmless |
//! | [`house`] | who may use whom, where unsafe may stand, how a file begins |
//! | [`kill`] | training that is killed at random moments and resumed ends in the same bits, on every engine |
//! | [`layers`] | docs/layers.md, which it writes: every layer of four public networks on every Arm core, beside CMSIS-NN's; ignored by default |
//! | [`networks`] | networks of other kinds than LeNet: 20 steps of PyTorch in f64 |
//! | [`onnx_runtime`] | ONNX Runtime in Python, for the tests that need it |
//! | [`own_firmware`] | crates and C programs outside the workspace give the host's logits; mistakes of a build script are one line |
//! | [`profile`] | what each layer takes: the log of executed instructions agrees with the counter |
//! | [`proofs`] | what the machine code proves: no panic is reachable, bounds of stack and flash |
//! | [`readme`] | what README and documents say that code can check |
//! | [`report`] | the report is sound HTML that says everything and fits a phone, in a browser too |
//! | [`schedule`] | the training run of the book, its figures and its speed; ignored by default |
//! | [`trained`] | PyTorch's model through import and evaluation; resuming a run to the same bits |
//! | [`zoo`] | public networks in ONNX: imported, folded, exported and in other exporters' forms, the outputs are the stored ones |
//! | [`zoo_device`] | public networks on emulated cores: plans for each core; the table of docs/results.md, which it writes |

mod arch;
mod assembly;
mod boards;
mod costs;
mod cuda;
mod cuda_build;
mod cuda_operations;
mod device_faults;
mod device_networks;
mod differential;
mod emulator;
mod engine_suite;
mod engines;
mod exchange;
mod families;
mod hostile_input;
mod house;
#[cfg(unix)]
mod kill;
mod layers;
mod networks;
mod onnx_runtime;
mod own_firmware;
mod profile;
mod proofs;
mod readme;
mod report;
mod schedule;
mod trained;
mod zoo;
mod zoo_device;

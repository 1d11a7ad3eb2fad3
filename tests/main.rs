//! Properties that no single crate can promise alone, one module each.
//!
//! | module | what belongs there |
//! |---|---|
//! | [`arch`] | every core and path gives the same bits, at the edges of what the proofs allow; the budget of instructions |
//! | [`assembly`] | a second assembler makes the same code |
//! | [`cuda`] | the CUDA engine without a GPU, on the CPU build of its kernels, and with one |
//! | [`cuda_operations`] | each CUDA kernel against the reference engine's twin of its operation |
//! | [`emulator`] | the firmware: host and emulator agree to the last bit, exit codes, log, refused builds |
//! | [`engine_suite`] | what every engine must do, as functions over `&mut dyn Engine` |
//! | [`engines`] | the engines that the suite is stamped onto, each with its tolerances |
//! | [`house`] | who may use whom, where unsafe may stand, how a file begins |
//! | [`readme`] | what the README says that code can check |
//! | [`schedule`] | the training run of the book, its figures and its speed; ignored by default |
//! | [`trained`] | PyTorch's model through import and evaluation; resuming a run to the same bits |

mod arch;
mod assembly;
mod cuda;
mod cuda_operations;
mod emulator;
mod engine_suite;
mod engines;
mod house;
mod readme;
mod schedule;
mod trained;

//! Properties that no single crate can promise alone, one module each.
//!
//! | module | what belongs there |
//! |---|---|
//! | [`engine_suite`] | what every engine must do, as functions over `&mut dyn Engine` |
//! | [`engines`] | the engines that the suite is stamped onto, each with its tolerances |
//! | [`schedule`] | the training run of the book, its figures and its speed; ignored by default |

mod engine_suite;
mod engines;
mod schedule;

//! One HTML file about a run: how it was trained, what it learned, where it errs, what became of it in integers and what the
//! device needs for it; or about a comparison of runs. Self-contained, without scripts, the same bytes for the same run.
//!
//! `facts` computes, `page` lays out; `table`, `picture` and `chart` are what a page is made of.

mod batch_norm;
pub(crate) mod comparison;
mod confusion;
mod facts;
mod mistakes;
mod page;
mod picture;
mod table;

use std::path::PathBuf;

use serde::Serialize;

pub use facts::{Device, Facts, Int8, ReportRequest, Stage, gather};

use crate::compare::Comparison;
use crate::error::Result;
use crate::files;

/// What was written. The keys of `report --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReportSummary {
    /// The file.
    pub report: PathBuf,
    /// Its length.
    pub bytes: usize,
    /// Test images behind its figures.
    pub images: usize,
    /// Share correct in f32, BatchNorm on its own.
    pub accuracy_f32_unfolded: Option<f64>,
    /// Share correct in f32, BatchNorm folded.
    pub accuracy_f32_folded: Option<f64>,
    /// Mean squared error in f32, BatchNorm on its own; of a network that gives its input back.
    pub error_f32_unfolded: Option<f64>,
    /// Mean squared error in f32, BatchNorm folded; likewise.
    pub error_f32_folded: Option<f64>,
    /// Share correct in integers; null where the exporter refuses the model.
    pub accuracy_int8: Option<f64>,
    /// Share correct in integers on the emulated device; null where it was not run.
    pub accuracy_int8_device: Option<f64>,
    /// Why the device was not run.
    pub device_not_run: Option<String>,
}

/// What was written about a comparison. The keys of `report --json` there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparisonSummary {
    /// The file.
    pub report: PathBuf,
    /// Its length.
    pub bytes: usize,
    /// Variants that are compared.
    pub variants: usize,
    /// Runs of all of them.
    pub runs: usize,
}

/// Writes the page about a comparison.
///
/// # Errors
/// [`crate::Error::Io`].
pub fn write_comparison(of: &Comparison, path: PathBuf) -> Result<ComparisonSummary> {
    let text = comparison::page(of).into_string();
    files::write(&path, text.as_bytes())?;
    let runs = of.variants.iter().map(|variant| variant.runs.len()).sum();
    Ok(ComparisonSummary { report: path, bytes: text.len(), variants: of.variants.len(), runs })
}

/// The page as text.
pub fn html(facts: &Facts<'_>) -> String {
    page::page(facts).into_string()
}

/// Writes the page.
///
/// # Errors
/// [`crate::Error::Io`].
pub fn write(facts: &Facts<'_>, path: PathBuf) -> Result<ReportSummary> {
    let text = html(facts);
    files::write(&path, text.as_bytes())?;
    let (device, why) = match &facts.device {
        Device::Ran(report) => (report.accuracy, None),
        Device::NotRun(why) => (None, Some(why.clone())),
    };
    Ok(ReportSummary {
        report: path,
        bytes: text.len(),
        images: facts.test.len(),
        accuracy_f32_unfolded: facts.unfolded.score.accuracy(),
        accuracy_f32_folded: facts.folded.score.accuracy(),
        error_f32_unfolded: facts.unfolded.score.error(),
        error_f32_folded: facts.folded.score.error(),
        accuracy_int8: facts.int8.as_ref().ok().and_then(|int8| int8.stage.score.accuracy()),
        accuracy_int8_device: device,
        device_not_run: why,
    })
}

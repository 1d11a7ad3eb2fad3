//! `host-trainer evaluate`.

use std::io::Write;
use std::path::PathBuf;

use super::args::EvaluateArgs;
use super::output::{self, Table, percent, thousands};
use crate::by_class::{ClassFigures, ClassMean};
use crate::error::{Error, Result};
use crate::evaluate::{EvaluateReport, Request, evaluate};
use crate::files;
use crate::model_file::ModelFile;
use crate::train::checkpoint::Checkpoint;

pub(super) fn run(args: EvaluateArgs, out: &mut dyn Write) -> Result<()> {
    if let Some(path) = &args.logits {
        let inputs: Vec<_> = [&args.file].into_iter().chain(&args.checkpoint).map(PathBuf::as_path).collect();
        files::check_output(path, &inputs)?;
    }
    let model = ModelFile::read(&args.file)?;
    let alongside = args.checkpoint.as_deref().map(Checkpoint::read).transpose()?;
    let checkpoint = match (&model, &alongside) {
        (ModelFile::Checkpoint(_), Some(_)) => {
            return Err(Error::BadArgument {
                problem: "--checkpoint compares a weights.bin with its checkpoint, and FILE is a checkpoint".into(),
                remedy: "leave --checkpoint away".into(),
            });
        }
        (ModelFile::Checkpoint(checkpoint), None) => Some(&**checkpoint),
        (ModelFile::Weights(_), alongside) => alongside.as_ref(),
    };
    let network = model.network(&args.file)?;
    let dataset = args.data.load(checkpoint.and_then(Checkpoint::training), &network)?;
    let images = args.images.map(|n| n as usize);
    let request = Request { file: &args.file, model: &model, checkpoint: alongside.as_ref(), images };
    let evaluated = evaluate(&request, &dataset)?;
    if let Some(path) = &args.logits {
        let bytes: Vec<u8> = evaluated.outputs.values().iter().flat_map(|v| v.to_le_bytes()).collect();
        files::write(path, &bytes)?;
    }
    if args.json { output::json(out, &evaluated.report) } else { output::text(out, &figures(&evaluated.report)) }
}

fn figures(report: &EvaluateReport) -> String {
    let mut table = Table::default();
    let named = if report.dataset == report.data_source { String::new() } else { format!(" ({})", report.data_source) };
    let source = format!("{} test images of {}{named}", thousands(report.images), report.dataset);
    table.row("classified", source);
    let accuracies = [
        ("accuracy, f32 unfolded", report.accuracy_f32_unfolded),
        ("accuracy, f32 folded", report.accuracy_f32_folded),
        ("accuracy, int8", report.accuracy_int8),
        ("classified differently by int8", report.disagree_int8),
    ];
    for (label, share) in accuracies {
        if let Some(share) = share {
            table.row(label, percent(share));
        }
    }
    let errors = [
        ("mean squared error, f32 unfolded", report.error_f32_unfolded),
        ("mean squared error, f32 folded", report.error_f32_folded),
    ];
    for (label, error) in errors {
        if let Some(error) = error {
            table.row(label, format!("{error:.6}"));
        }
    }
    let differences = [
        ("largest output difference, folding", report.fold_difference),
        ("largest output difference, int8", report.int8_difference),
    ];
    for (label, difference) in differences {
        if let Some(difference) = difference {
            table.row(label, format!("{difference:.2e}"));
        }
    }
    if let Some(hint) = &report.hint {
        table.row("hint", hint);
    }
    if let Some(refusal) = &report.int8_refused {
        table.row("no int8", refusal);
    }
    table.row("time", format!("{:.1} s", report.seconds));
    let classes = report.class_mean.as_ref().map(|mean| by_class(&report.classes, mean));
    table.render() + &classes.unwrap_or_default()
}

/// A row a class.
fn by_class(classes: &[ClassFigures], mean: &ClassMean) -> String {
    let last = format!("mean of {}", mean.classes);
    let names = classes.iter().map(|row| row.class.chars().count()).chain([last.len()]);
    let width = names.max().unwrap_or(0);
    let mut text = format!("\n{:width$}  precision    recall        F1  support\n", "class");
    let share = |share: Option<f64>| share.map_or("–".into(), percent);
    for row in classes {
        let [precision, recall, f1] = [row.precision, row.recall, row.f1].map(share);
        let support = thousands(row.support);
        text += &format!("{:width$}  {precision:>9}  {recall:>8}  {f1:>8}  {support:>7}\n", row.class);
    }
    let [precision, recall, f1] = [mean.precision, mean.recall, mean.f1].map(percent);
    text + &format!("{last:width$}  {precision:>9}  {recall:>8}  {f1:>8}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_a_share_of_nothing_is_a_dash() {
        let row = |class: &str, precision, support| ClassFigures {
            class: class.into(),
            precision,
            recall: Some(1.0),
            f1: Some(0.5),
            support,
            predicted: 0,
            correct: 0,
        };
        let mean = ClassMean { classes: 2, precision: 0.5, recall: 1.0, f1: 0.5 };
        let text = by_class(&[row("größe", None, 1), row("ankle boot", Some(0.25), 1234)], &mean);
        let lengths: Vec<_> = text.lines().skip(1).map(|line| line.chars().count()).collect();
        assert_eq!(lengths, [50, 50, 50, 41], "{text}");
        assert!(text.contains("größe               –  100.00 %   50.00 %        1\n"), "{text}");
    }
}

//! `host-trainer classify`: its flags, and what it prints.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::output::{self, percent, thousands};
use super::shared_args::between_0_and_1;
use crate::classify::{Classification, Classified, ClassifyReport, Request, classify};
use crate::data::{Inputs, Raw};
use crate::draw::{Raster, Shades, columns_of_stdout};
use crate::error::Result;
use crate::model_file::ModelFile;

/// So many pictures are drawn; more have a line each.
const DRAWN: usize = 8;
/// So many classes have a bar.
const BARS: usize = 5;
/// Columns of the longest bar.
const BAR: usize = 24;
/// A drawing is no wider.
const WIDEST: usize = 64;

/// `classify`.
#[derive(Args, Debug)]
pub struct ClassifyArgs {
    /// A checkpoint, or a weights.bin
    pub model: PathBuf,
    /// Pictures (PNG, JPEG, BMP), or folders of them. They become what the network reads as those of `train --data` do
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Say "unsure" where the likeliest class is less likely than P, between 0 and 1
    #[arg(long, value_name = "P", value_parser = between_0_and_1)]
    pub reject: Option<f64>,
    /// Make light dark and dark light: for dark things on a light ground, and a network that learned light ones on a dark ground
    #[arg(long)]
    pub invert: bool,
    /// Print one JSON object on stdout instead of text
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(args: ClassifyArgs, out: &mut dyn Write) -> Result<()> {
    let model = ModelFile::read(&args.model)?;
    let request =
        Request { file: &args.model, model: &model, paths: &args.files, invert: args.invert, reject: args.reject };
    let Classification { report, inputs } = classify(&request)?;
    if args.json {
        return output::json(out, &report);
    }
    output::text(out, &text(&report, &inputs, Shades::of_stdout(), columns_of_stdout()))
}

fn text(report: &ClassifyReport, inputs: &Inputs, shades: Shades, columns: usize) -> String {
    let pictures = &report.pictures;
    if pictures.len() > DRAWN {
        return list(pictures) + &counts(pictures);
    }
    let blocks = pictures.iter().enumerate().map(|(at, picture)| {
        let Raw::U8(planes) = inputs.raw(at) else { unreachable!("pictures are bytes") };
        block(report, picture, Raster::new(inputs.shape(), planes), shades, columns)
    });
    let all = blocks.collect::<Vec<_>>().join("\n");
    if pictures.len() == 1 { all } else { all + "\n" + &counts(pictures) }
}

/// What is said of one picture, what was done to it, what the network saw, and the likeliest classes.
fn block(report: &ClassifyReport, picture: &Classified, seen: Raster, shades: Shades, columns: usize) -> String {
    let Classified { source, done, .. } = picture;
    let mut text = format!("{}: {}\n", shown_name(picture), verdict(picture));
    text += &format!("  {} {}x{}, {}\n", source.format, source.width, source.height, source.mode);
    let changes = if done.is_empty() { "taken as it is".into() } else { done.join(", ") };
    text += &format!("  {changes}; preprocessing {}\n", report.preprocessing);
    if let Some(hint) = picture.hint {
        text += &format!("  hint: {hint}\n");
    }
    text.push('\n');
    let seen = seen.at_most(WIDEST.min(columns.saturating_sub(2)).max(1));
    let (width, drawing) = (seen.width(), seen.lines(shades));
    let bars = bars(report, picture);
    let widest = bars.iter().map(|bar| bar.chars().count()).max().unwrap_or(0);
    if width + widest + 4 > columns {
        for line in drawing.iter().chain([&String::new()]).chain(&bars) {
            text += &format!("{}\n", format!("  {line}").trim_end());
        }
        return text;
    }
    // Beside the middle of the drawing.
    let above = drawing.len().saturating_sub(bars.len()) / 2;
    for at in 0..drawing.len().max(above + bars.len()) {
        // What colours a line takes no column, so the line cannot be padded by its length.
        let line = drawing.get(at).map_or(" ".repeat(width), String::clone);
        let bar = at.checked_sub(above).and_then(|at| bars.get(at)).map_or("", |bar| bar);
        text += &format!("{}\n", format!("  {line}  {bar}").trim_end());
    }
    text
}

/// A file's name on one line: it may hold what commands a terminal.
fn shown_name(picture: &Classified) -> String {
    picture.file.display().to_string().replace(char::is_control, "?")
}

fn verdict(picture: &Classified) -> String {
    let said = format!("{}, {}", picture.class, percent(picture.probability));
    if picture.unsure { format!("unsure ({said})") } else { said }
}

/// The likeliest classes, and what is left for the others.
fn bars(report: &ClassifyReport, picture: &Classified) -> Vec<String> {
    let mut order: Vec<usize> = (0..report.classes.len()).collect();
    // A stable sort: equals stay in the order of the classes.
    order.sort_by(|&a, &b| picture.probabilities[b].total_cmp(&picture.probabilities[a]));
    let (shown, others) = order.split_at(order.len().min(BARS));
    let mut rows: Vec<(&str, f64)> =
        shown.iter().map(|&class| (report.classes[class].as_str(), picture.probabilities[class])).collect();
    let rest = format!("{} others", others.len());
    if !others.is_empty() {
        rows.push((&rest, others.iter().map(|&class| picture.probabilities[class]).sum()));
    }
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(name, share)| format!("{name:width$}  {} {:>8}", bar(*share), percent(*share))).collect()
}

/// A bar of eighths of a column.
fn bar(share: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * (8 * BAR) as f64).round() as usize;
    let bar = "█".repeat(eighths / 8) + EIGHTHS[eighths % 8];
    format!("{bar:BAR$}")
}

/// A line a picture.
fn list(pictures: &[Classified]) -> String {
    let names: Vec<String> = pictures.iter().map(shown_name).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let line = |(name, picture): (&String, &Classified)| format!("{name:width$}  {}\n", verdict(picture));
    let hinted = pictures.iter().filter(|picture| picture.hint.is_some()).count();
    let hint = pictures
        .iter()
        .find_map(|picture| picture.hint)
        .map_or(String::new(), |hint| format!("\nhint: of {} of them is true: {hint}\n", thousands(hinted)));
    names.iter().zip(pictures).map(line).collect::<String>() + &hint + "\n"
}

/// How many pictures of each class there are.
fn counts(pictures: &[Classified]) -> String {
    let mut counts: BTreeMap<(bool, usize), (&str, usize)> = BTreeMap::new();
    for picture in pictures {
        let name = if picture.unsure { "unsure" } else { picture.class.as_str() };
        let label = if picture.unsure { 0 } else { picture.label };
        counts.entry((picture.unsure, label)).or_insert((name, 0)).1 += 1;
    }
    let each: Vec<_> = counts.values().map(|(name, count)| format!("{name} {}", thousands(*count))).collect();
    format!("{} pictures: {}\n", thousands(pictures.len()), each.join(", "))
}

#[cfg(test)]
mod tests {
    use bn_core::network::Shape;

    use super::*;
    use crate::data::Values;
    use crate::data::picture::Source;

    fn report(count: usize) -> ClassifyReport {
        let picture = |at: usize| Classified {
            file: format!("{at}.png").into(),
            source: Source { format: "PNG", width: 8, height: 6, mode: "RGB, 8 bits".into() },
            done: vec!["made grey".into(), "resized from 8x6 to 4x4".into()],
            label: at % 2,
            class: ["cat", "größer"][at % 2].into(),
            probability: 0.75,
            unsure: at % 3 == 2,
            probabilities: [[0.75, 0.25], [0.25, 0.75]][at % 2].into(),
            hint: None,
        };
        ClassifyReport {
            file: "m".into(),
            network: "n".into(),
            arithmetic: "f32",
            input: "1x4x4".into(),
            preprocessing: "scale 1/255".into(),
            classes: ["cat", "größer"].map(String::from).into(),
            reject: Some(0.8),
            pictures: (0..count).map(picture).collect(),
        }
    }

    fn shown(count: usize, shades: Shades, columns: usize) -> String {
        let inputs = Inputs::new(Shape::new(1, 4, 4), Values::U8(vec![255; 16 * count]));
        text(&report(count), &inputs, shades, columns)
    }

    #[test]
    fn one_picture_is_drawn_beside_its_classes() {
        let full = "█".repeat(18) + "      ";
        let wanted = format!(
            "0.png: cat, 75.00 %\n  PNG 8x6, RGB, 8 bits\n  made grey, resized from 8x6 to 4x4; preprocessing scale 1/255\n\n\
             \x20 @@@@  cat     {full}  75.00 %\n\x20 @@@@  größer  {}  25.00 %\n",
            "█".repeat(6) + &" ".repeat(18)
        );
        assert_eq!(shown(1, Shades::Characters, 80), wanted);
        // Where it is narrow the bars stand below.
        assert!(shown(1, Shades::Characters, 30).contains("  @@@@\n  @@@@\n\n  cat "));
    }

    #[test]
    fn a_name_cannot_command_the_terminal() {
        let mut report = report(1);
        report.pictures[0].file = "a\x1b[2J\n.png".into();
        assert_eq!(shown_name(&report.pictures[0]), "a?[2J?.png");
    }

    #[test]
    fn many_pictures_have_a_line_each_and_are_counted() {
        let text = shown(9, Shades::True, 80);
        assert_eq!(text.lines().count(), 9 + 2);
        assert!(text.contains("2.png  unsure (cat, 75.00 %)\n"), "{text}");
        assert!(text.ends_with("9 pictures: cat 3, größer 3, unsure 3\n"), "{text}");
        assert!(shown(2, Shades::True, 80).ends_with("\n2 pictures: cat 1, größer 1\n"));
    }

    #[test]
    fn few_classes_have_a_bar_and_the_rest_one_together() {
        let mut many = report(1);
        many.classes = (0..100).map(|class| class.to_string()).collect();
        many.pictures[0].probabilities = (0..100).map(|class| if class == 42 { 0.505 } else { 0.005 }).collect();
        let bars = bars(&many, &many.pictures[0]);
        assert_eq!(bars.len(), BARS + 1);
        assert!(
            bars[0].starts_with("42") && bars[5].starts_with("95 others") && bars[5].ends_with("47.50 %"),
            "{bars:?}"
        );
        assert_eq!((bar(0.0).trim(), bar(1.0), bar(1.0 / 48.0).trim()), ("", "█".repeat(BAR), "▌"));
    }
}

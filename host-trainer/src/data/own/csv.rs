//! CSV: a row an example, its label and its values. The label is the column called `label`, `class`, `target` or `y`, else the first; it is a
//! number from 0 or a name. A first row that holds texts where values belong is the header. Where every value is a whole number from 0 to 255 they are pixels (u8).

use std::path::Path;

use bn_core::network::Shape;

use super::{MAX_CLASSES, Own, fit, known};
use crate::data::{Split, Values};
use crate::error::{Error, Result};
use crate::files;

const REMEDY: &str = "give a row an example, `label,value,value,...`: see docs/data.md";
/// What a header may call the labels.
const LABELS: [&str; 4] = ["label", "class", "target", "y"];

/// Reads a file of training examples and, where there are two, one of test examples.
///
/// # Errors
/// [`Error::BadFile`] with the file and the row at fault.
pub fn read(paths: &[&Path], shape: Option<Shape>) -> Result<Own> {
    let mut texts = Vec::new();
    for &path in paths {
        let bytes = files::read(path, &files::CSV)?;
        texts.push((path, String::from_utf8(bytes).map_err(|_| Error::bad_file(path, "it is no text", REMEDY))?));
    }
    let texts: Vec<_> = texts.iter().map(|(path, text)| (*path, text.as_str())).collect();
    from_texts(&texts, shape)
}

/// As [`read`], of the files' contents.
///
/// # Errors
/// As [`read`].
pub fn from_texts(texts: &[(&Path, &str)], shape: Option<Shape>) -> Result<Own> {
    let at = |path: &Path, problem: String| Error::bad_file(path, problem, REMEDY);
    let mut tables = Vec::new();
    for &(path, text) in texts {
        tables.push((path, Table::parse(text).map_err(|problem| at(path, problem))?));
    }
    let classes = classes(tables.iter().flat_map(|(_, table)| &table.labels));
    if classes.len() > MAX_CLASSES {
        let problem =
            format!("it has {} different labels, and at most {MAX_CLASSES} classes are told apart", classes.len());
        return Err(at(tables[0].0, problem));
    }
    let are_pixels = tables.iter().all(|(_, table)| table.are_pixels());
    let mut splits = tables
        .into_iter()
        .map(|(path, table)| table.split(shape, &classes, are_pixels).map_err(|problem| at(path, problem)));
    let train = splits.next().expect("at least one file")?;
    let test: Option<Split> = splits.next().transpose()?;
    Ok(Own { train, test, classes })
}

/// The names, sorted; none where every label is a number.
fn classes<'a>(labels: impl Iterator<Item = &'a &'a str> + Clone) -> Vec<String> {
    if labels.clone().all(|label| label.parse::<i64>().is_ok()) {
        return Vec::new();
    }
    let names: std::collections::BTreeSet<&str> = labels.copied().collect();
    names.into_iter().map(String::from).collect()
}

/// The rows of a file.
struct Table<'a> {
    labels: Vec<&'a str>,
    values: Vec<f32>,
}

impl<'a> Table<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let rows = text.lines().enumerate().filter(|(_, row)| !row.trim().is_empty());
        let mut rows = rows.map(|(at, row)| (at + 1, row)).peekable();
        let Some(&(_, first)) = rows.peek() else { return Err("it has no row".into()) };
        let header: Vec<&str> = cells(first).collect();
        if header.len() < 2 {
            return Err("its first row has one cell, and a row is a label and values, between commas".into());
        }
        let label = header.iter().position(|cell| LABELS.contains(&cell.to_lowercase().as_str()));
        let is_header = label.is_some() || header[1..].iter().any(|cell| cell.parse::<f32>().is_err());
        if is_header {
            rows.next();
        }
        let (label, width) = (label.unwrap_or(0), header.len());
        let mut table = Table { labels: Vec::new(), values: Vec::new() };
        for (number, row) in rows {
            let count = cells(row).count();
            if count != width {
                return Err(format!("row {number} has {count} cells, the first has {width}"));
            }
            for (column, cell) in cells(row).enumerate() {
                if column == label {
                    table.labels.push(cell);
                    continue;
                }
                let value = cell.parse::<f32>().ok().filter(|value| value.is_finite());
                table.values.push(value.ok_or_else(|| {
                    let shown: String = cell.chars().take(20).collect();
                    format!("row {number}, column {}: {shown:?} is no number", column + 1)
                })?);
            }
        }
        if table.labels.is_empty() { Err("it has no row but its header".into()) } else { Ok(table) }
    }

    fn are_pixels(&self) -> bool {
        self.values.iter().all(|&value| (0.0..=255.0).contains(&value) && value.fract() == 0.0)
    }

    fn split(self, shape: Option<Shape>, classes: &[String], are_pixels: bool) -> Result<Split, String> {
        let (rows, width) = (self.labels.len(), self.values.len() / self.labels.len());
        let shape = shape.unwrap_or(Shape::flat(width));
        if shape.len() != width {
            return Err(format!(
                "its rows have {width} values, and the network reads {shape}: {} of them",
                shape.len()
            ));
        }
        let values = if are_pixels {
            Values::U8(self.values.into_iter().map(|value| value as u8).collect())
        } else {
            Values::F32(self.values)
        };
        let [channels, height, columns] = shape.dims();
        let inputs = fit(values, &[rows, channels, height, columns], Some(shape))?;
        let label = |label: &&str| match classes.binary_search_by(|name| name.as_str().cmp(label)) {
            Ok(at) => at as i64,
            Err(_) => label.parse().unwrap_or(i64::MAX),
        };
        known(inputs, &self.labels.iter().map(label).collect::<Vec<_>>(), classes)
    }
}

/// The cells of a row, without the quotes that spreadsheets put around texts.
fn cells(row: &str) -> impl Iterator<Item = &str> {
    row.split(',').map(|cell| {
        let cell = cell.trim();
        cell.strip_prefix('"').and_then(|cell| cell.strip_suffix('"')).unwrap_or(cell)
    })
}

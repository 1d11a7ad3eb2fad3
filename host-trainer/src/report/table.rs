//! Tables for people out of what is serialised for programs: whatever fields a report has, it has a row for each.

use maud::{Markup, html};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::numbers::{figures, percent, thousands};

/// Keys that would not be understood beside their values.
const KEYS: [(&str, &str); 11] = [
    ("bn_momentum", "BatchNorm's momentum"),
    ("bn_fixed", "fixed in BatchNorm"),
    ("disagree", "classified differently from f32"),
    ("divergence", "divergence from f32 (nats)"),
    ("cost_left", "error of the outputs, of what the nearest integers leave"),
    ("saturated", "at either end of the integers"),
    ("disagree_int8", "classified differently by int8 than by folded f32"),
    ("fold_difference", "largest change of a logit by folding"),
    ("int8_difference", "largest change of a logit by rounding"),
    ("instructions_range", "fewest and most instructions"),
    ("cmsis_nn", "CMSIS-NN's instructions on a Cortex-M4: as called, at best"),
];

/// Words of our keys, as people say them.
const WORDS: [(&str, &str); 8] = [
    ("lr", "learning rate"),
    ("snr", "signal to noise"),
    ("db", "(dB)"),
    ("lsb", "(LSB)"),
    ("macs", "multiply-accumulates"),
    ("bytes", "(bytes)"),
    ("ram", "RAM"),
    ("mac", "multiply-accumulate"),
];

/// More structures than that have rows instead of columns.
const SIDE_BY_SIDE: usize = 8;

/// `weight_snr_db` as `weight signal to noise (dB)`.
pub(super) fn label(key: &str) -> String {
    if let Some((_, known)) = KEYS.iter().find(|(ours, _)| *ours == key) {
        return (*known).into();
    }
    let word = |word: &str| WORDS.iter().find(|(ours, _)| *ours == word).map_or(word.to_owned(), |(_, w)| (*w).into());
    key.split('_').map(word).collect::<Vec<_>>().join(" ")
}

/// A value in a cell.
pub(super) fn text(key: &str, value: &Value) -> String {
    let is_share = key.contains("accuracy") || key.starts_with("disagree") || ["cost_left", "saturated"].contains(&key);
    match value {
        Value::Null => "–".into(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.into(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_u64() {
            Some(whole) => thousands(whole as usize),
            None if is_share => percent(number.as_f64().unwrap_or(f64::NAN)),
            None => figures(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::Array(values) => {
            let mut texts: Vec<_> = values.iter().map(|v| text(key, v)).collect();
            texts.dedup();
            let is_range = values.len() == 2 && key != "cmsis_nn";
            texts.join(if is_range { " to " } else { ", " })
        }
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| format!("{} {}", label(key), text(key, value));
            map.iter().map(entry).collect::<Vec<_>>().join(", ")
        }
    }
}

/// The fields of a structure.
///
/// # Panics
/// If it is none.
pub(super) fn fields(of: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(of).expect("plain data is JSON") {
        Value::Object(map) => map,
        other => panic!("{other} has no fields"),
    }
}

/// The fields of a structure behind one that says which it is.
pub(super) fn named(key: &str, name: impl Into<Value>, of: &impl Serialize) -> Map<String, Value> {
    std::iter::once((key.to_owned(), name.into())).chain(fields(of)).collect()
}

/// A row for each field of one structure.
pub(super) fn of_one(caption: &str, rows: &Map<String, Value>) -> Markup {
    html! {
        table.pairs {
            caption { (caption) }
            tbody {
                @for (key, value) in rows {
                    tr { th scope="row" { (label(key)) } td { (text(key, value)) } }
                }
            }
        }
    }
}

/// A column for each structure, headed by its field `name`, and a row for each other field; of many structures a row each.
pub(super) fn of_many<T: Serialize>(caption: &str, name: &str, items: &[T]) -> Markup {
    if items.len() > SIDE_BY_SIDE {
        return rows(caption, items, "layers");
    }
    let items: Vec<_> = items.iter().map(fields).collect();
    let keys: Vec<&String> = items.first().map_or(Vec::new(), |first| first.keys().filter(|k| *k != name).collect());
    wide(
        caption,
        html! {
            table {
                caption { (caption) }
                thead {
                    tr {
                        th scope="col" { (label(name)) }
                        @for item in &items { th scope="col" { (text(name, &item[name])) } }
                    }
                }
                tbody {
                    @for key in keys {
                        tr {
                            th scope="row" { (label(key)) }
                            @for item in &items { td { (text(key, item.get(key).unwrap_or(&Value::Null))) } }
                        }
                    }
                }
            }
        },
    )
}

/// A row for each structure and a column for each field.
pub(super) fn of_rows<T: Serialize>(caption: &str, items: &[T]) -> Markup {
    rows(caption, items, "")
}

fn rows<T: Serialize>(caption: &str, items: &[T], class: &str) -> Markup {
    let items: Vec<_> = items.iter().map(fields).collect();
    let keys: Vec<&String> = items.first().map_or(Vec::new(), |first| first.keys().collect());
    wide(
        caption,
        html! {
            table class=[(!class.is_empty()).then_some(class)] {
                caption { (caption) }
                thead { tr { @for key in &keys { th scope="col" { (label(key)) } } } }
                tbody {
                    @for item in &items {
                        tr {
                            @for (i, key) in keys.iter().enumerate() {
                                @let cell = text(key, item.get(*key).unwrap_or(&Value::Null));
                                @if i == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                            }
                        }
                    }
                }
            }
        },
    )
}

/// A table that scrolls by itself where the screen is narrower; by keyboard too.
pub(super) fn wide(caption: &str, table: Markup) -> Markup {
    html! { div.wide role="region" aria-label=(caption) tabindex="0" { (table) } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_words_and_values_have_four_figures() {
        assert_eq!(label("weight_snr_db"), "weight signal to noise (dB)");
        assert_eq!(label("fold_gain"), "fold gain");
        let shown = [0.0, 1.0, -0.25, 12.345678, 1234.5678, 0.000012345, 1e9].map(figures);
        assert_eq!(shown, ["0", "1", "−0.25", "12.35", "1235", "1.23e−5", "1e9"]);
        assert_eq!(text("x", &json!([0.5, 2])), "0.5 to 2");
        assert_eq!(text("x", &json!([0.5, 0.5])), "0.5");
        assert_eq!(text("accuracy", &json!(0.86805)), "86.80 %");
        assert_eq!(text("x", &json!({"mean_db": 1.5, "dead": true})), "mean (dB) 1.5, dead yes");
        assert_eq!(text("x", &json!(null)), "–");
        assert_eq!(text("x", &json!(44878)), "44,878");
    }

    #[test]
    fn a_field_that_is_new_has_a_row() {
        let layers = [json!({"layer": "first", "saturation": 0.25}), json!({"layer": "second", "saturation": 0.5})];
        let table = of_many("Layers", "layer", &layers).into_string();
        for part in ["<th scope=\"col\">second</th>", "<th scope=\"row\">saturation</th><td>0.25</td><td>0.5</td>"] {
            assert!(table.contains(part), "{table}");
        }
        let many = vec![layers[0].clone(); SIDE_BY_SIDE + 1];
        let table = of_many("Layers", "layer", &many).into_string();
        assert_eq!(table.matches("<th scope=\"row\">first</th><td>0.25</td>").count(), SIDE_BY_SIDE + 1, "{table}");
    }
}

//! From bytes to a [`WeightsFile`]: every section is checked against the network that the file describes, and every stream proved.

use std::string::{String, ToString};
use std::vec::Vec;

use super::{FileStep, Texts, WeightsFile};
use crate::format::{CRC, FormatError, HEADER_BYTES, Header, read_header};
use crate::kernels::linear::{BLOCK, Layer};
use crate::kernels::{CentredTable, Fault, Table, winograd5};
use crate::network::{Decoded, Topology, Value, decode};
use crate::plan::{self, Family, Form, NONE, Shapes, Step, TABLE_WORDS, WORD};
use crate::quant::Scale;

impl WeightsFile {
    /// Reads a whole file.
    ///
    /// # Errors
    /// [`FormatError`] for anything but a file that the writer could have made.
    pub fn read(bytes: &[u8]) -> Result<Self, FormatError> {
        let header = read_header(bytes)?;
        let (model, text) = bytes.split_at(header.length as usize);
        if text.len() != header.text_bytes as usize {
            let expected = model.len() + header.text_bytes as usize;
            return Err(FormatError::Length { expected, found: bytes.len() });
        }
        if !model.len().is_multiple_of(WORD) {
            return Err(FormatError::Length { expected: model.len().next_multiple_of(WORD), found: model.len() });
        }
        let words: Vec<u32> = model.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
        let mut sections = Sections { words: &words, at: HEADER_BYTES / WORD };

        let description = sections.take(header.description_words as usize).ok_or(FormatError::Description)?;
        let Decoded { input, nodes, scale, mean_std } = decode(description).ok_or(FormatError::Description)?;
        let topology = Topology { input, nodes: &nodes };
        if topology.check().is_err() || topology.digest() != header.topology {
            return Err(FormatError::Description);
        }
        let texts = texts(&header, text, nodes.len()).ok_or(FormatError::Texts)?;

        let count = usize::from(header.steps);
        let missing = FormatError::Step { step: count };
        let records = sections.take(count * size_of::<Step>() / WORD).ok_or(missing)?;
        let records: &[Step] = bytemuck::cast_slice(records);
        if plan::digest(header.topology, records) != header.plan {
            return Err(FormatError::Plan { expected: plan::digest(header.topology, records), found: header.plan });
        }
        let scales = sections.take((count + 1) * size_of::<Scale>() / WORD).ok_or(missing)?;
        let scales: Vec<Scale> = bytemuck::cast_slice(scales).to_vec();
        if let Some(tensor) = scales.iter().position(|s| !(s.scale > 0.0 && s.scale.is_finite())) {
            return Err(FormatError::Scale { tensor });
        }
        let goldens = sections.take(count).ok_or(missing)?.to_vec();
        let streams_at = sections.at;
        let steps = steps(&topology, records, header.tables as usize, streams_at)?;
        let end = streams_at + steps.iter().map(|step| step.shapes.stream).sum::<usize>();
        let expected = (end + header.tables as usize * TABLE_WORDS) * WORD;
        if expected != model.len() {
            return Err(FormatError::Length { expected, found: model.len() });
        }
        let file = WeightsFile {
            text: text.to_vec(),
            header,
            input,
            nodes,
            scale,
            mean_std,
            texts,
            steps,
            scales,
            goldens,
            streams_at,
            words,
        };
        if file.network().identity() != header.identity {
            return Err(FormatError::Description);
        }
        file.prove()?;
        Ok(file)
    }

    /// Every stream by its family.
    fn prove(&self) -> Result<(), FormatError> {
        (0..self.steps.len())
            .try_for_each(|step| self.prove_step(step).map_err(|fault| FormatError::Stream { step, fault }))
    }

    fn prove_step(&self, at: usize) -> Result<(), Fault> {
        let family = self.steps[at].family;
        match family {
            Family::Winograd5Image => {
                bytemuck::from_bytes::<winograd5::ImageStream>(bytemuck::cast_slice(self.stream(at)))
                    .check(self.table(at))
            }
            Family::Winograd5Maps => {
                bytemuck::from_bytes::<winograd5::MapsStream>(bytemuck::cast_slice(self.stream(at)))
                    .check(self.centred_table(at))
            }
            Family::LinearSigmoid | Family::LinearLogits => {
                let (inputs, outputs) = self.step_sizes(at);
                self.linear(at).check(inputs, outputs)?;
                match family {
                    Family::LinearSigmoid => crate::kernels::check_centred_table(self.centred_table(at)),
                    _ => Ok(()),
                }
            }
            _ => self.prove_layer(at),
        }
    }

    /// A step whose family takes any shape.
    fn prove_layer(&self, at: usize) -> Result<(), Fault> {
        self.layer(at).expect("its family takes it").kernel.check(self.stream(at))
    }

    /// The stream of a linear step.
    pub(super) fn linear(&self, at: usize) -> Layer<'_> {
        let (inputs, outputs) = self.step_sizes(at);
        Layer::new(self.stream(at), plan::quads(inputs), outputs.div_ceil(BLOCK)).expect("its words were counted")
    }

    /// The table of a step that has one.
    pub(super) fn table(&self, at: usize) -> &Table {
        let start = self.steps[at].table_at.expect("a step with a table");
        let bytes: &[u8] = bytemuck::cast_slice(&self.words[start..start + TABLE_WORDS]);
        bytes.first_chunk().expect("a table")
    }

    /// The table of a step that has one, centred.
    pub(super) fn centred_table(&self, at: usize) -> &CentredTable {
        bytemuck::must_cast_ref(self.table(at))
    }
}

struct Sections<'a> {
    words: &'a [u32],
    at: usize,
}

impl<'a> Sections<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u32]> {
        let taken = self.words.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }
}

/// Name of the network, number of classes, class names, then names of nodes: one a line, `POSITION NAME`.
fn texts(header: &Header, text: &[u8], nodes: usize) -> Option<Texts> {
    if CRC.checksum(text) != header.text_checksum {
        return None;
    }
    let mut lines = core::str::from_utf8(text).ok()?.lines();
    let network = lines.next()?.to_string();
    let count: usize = lines.next()?.parse().ok()?;
    let classes: Vec<&str> = lines.by_ref().take(count).collect();
    let mut names: Vec<Option<String>> = std::vec![None; nodes];
    for line in lines {
        let (position, name) = line.split_once(' ')?;
        *names.get_mut(position.parse::<usize>().ok()?)? = Some(name.to_string());
    }
    (classes.len() == count).then(|| Texts { network, classes: classes.join("\n"), nodes: names })
}

/// Checks that the steps compute every node once, each by a family that can, from tensors that are there, at places that do not
/// overlap.
fn steps(
    topology: &Topology<'_>,
    records: &[Step],
    tables: usize,
    streams_at: usize,
) -> Result<Vec<FileStep>, FormatError> {
    let (mut steps, mut next, mut stream_at): (Vec<FileStep>, _, _) = (Vec::new(), 0, streams_at);
    let tables_at = streams_at + records.iter().map(|step| step.stream as usize).sum::<usize>();
    for (at, &step) in records.iter().enumerate() {
        let wrong = FormatError::Step { step: at };
        let family = Family::of_number(step.family).ok_or(wrong)?;
        let shapes = family.takes(topology, next).ok_or(wrong)?;
        let table_at = match step.table {
            Step::NO_TABLE => None,
            table => Some(tables_at + usize::from(table) * TABLE_WORDS),
        };
        let fits = usize::from(step.first) == next
            && usize::from(step.last) == shapes.last
            && step.stream as usize == shapes.stream
            && shapes.table == table_at.is_some()
            && (table_at.is_none() || usize::from(step.table) < tables)
            && places_fit(topology, &steps, &step, &shapes);
        if !fits {
            return Err(wrong);
        }
        let [_, other] = shapes.terms(topology, next);
        let other = other.map(|(value, ..)| place_of(&steps, value));
        next = shapes.last + 1;
        steps.push(FileStep { step, family, shapes, stream_at, table_at, other });
        stream_at += shapes.stream;
    }
    let last = steps.last().is_some_and(|step| matches!(step.shapes.forms[1], Form::Words | Form::Halves));
    let used = |table: usize| records.iter().any(|step| usize::from(step.table) == table);
    if next != topology.nodes.len() || !last || !(0..tables).all(used) {
        return Err(FormatError::Step { step: records.len() });
    }
    Ok(steps)
}

/// Where a value lies in the arena; [`NONE`] for the network's input, and for what no step gives.
fn place_of(before: &[FileStep], value: Value) -> u32 {
    let gives = |from: &&FileStep| value == Value::Node(from.step.last.into());
    before.iter().find(gives).map_or(NONE, |from| from.step.output)
}

/// Most words of an arena: a file cannot ask for more memory than that.
const MAX_ARENA: usize = 1 << 24;

/// Whether a step finds its input, in the form that it wants, and writes over nothing that it or a later step still reads.
fn places_fit(topology: &Topology<'_>, before: &[FileStep], step: &Step, shapes: &Shapes) -> bool {
    let (output, scratch) = (step.output as usize, step.scratch as usize);
    if output + shapes.output > MAX_ARENA || scratch + shapes.scratch > MAX_ARENA {
        return false;
    }
    let (own, work) = ((output, shapes.output), (scratch, shapes.scratch));
    let apart = |(a, a_words): (usize, usize), (b, b_words): (usize, usize)| {
        a_words == 0 || b_words == 0 || a + a_words <= b || b + b_words <= a
    };
    let gives = |node: usize, form, words| {
        before
            .iter()
            .any(|from| (usize::from(from.step.last), from.shapes.forms[1], from.shapes.output) == (node, form, words))
    };
    let inputs_fit =
        shapes.terms(topology, step.first.into()).into_iter().flatten().all(|(value, form, words)| match value {
            Value::Input => form == Form::Bytes,
            Value::Node(node) => gives(node, form, words),
        });
    let first = usize::from(step.first);
    let reads = topology.nodes[first].input;
    let input_fits = inputs_fit && step.input == place_of(before, reads);
    // What was written before and is read by this step or a later one.
    let fits = |from: &FileStep| {
        let value = Value::Node(from.step.last.into());
        let (from_place, last_reader) = (from.step.output as usize, topology.readers(value).max());
        let is_read = last_reader.is_some_and(|reader| reader >= first);
        // A value that nobody reads later may be replaced by the step that reads it once.
        let is_read_later = last_reader.is_some_and(|reader| reader > shapes.last);
        let once = !is_read_later && (reads == value) != (shapes.other == Some(value));
        let replaces = (reads == value && shapes.may_share(from_place, output))
            || (shapes.other == Some(value) && shapes.other_in_place && from_place == output);
        let tensor = (from_place, from.shapes.output);
        !is_read || (apart(work, tensor) && (apart(own, tensor) || (once && replaces)))
    };
    input_fits && apart(own, work) && before.iter().all(fits)
}

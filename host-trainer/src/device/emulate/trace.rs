//! Which instructions a built program executes in one inference: QEMU's own log of every one, read as it is written. Runs the
//! emulator; touches the working directory it is given alone.

use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;

use object::{Object, ObjectSection};

use super::cortex_m4::{self, Kind};
use super::run::{self, Run, failed};
use crate::device::footprint::{Footprint, footprint};
use crate::device::setup::QEMU_ARM;
use crate::error::{Error, Result};
use crate::files;
use crate::process::{Command, Shown};

/// What was executed, in order.
#[derive(Debug)]
pub(super) struct Trace {
    /// Each instruction's address.
    addresses: Vec<u32>,
    /// The function whose one execution this is, and everything below it.
    functions: Vec<(String, Range<u32>)>,
    /// Where code lies, with its halfwords.
    code: Vec<(u32, Vec<u16>)>,
}

/// One executed instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub address: u32,
    pub bytes: u32,
    pub kind: Kind,
    /// The next instruction executed is not the next in memory.
    pub jumped: bool,
}

impl Trace {
    /// Of the last execution of the function whose symbol contains `root`.
    ///
    /// # Errors
    /// [`Error::Tool`] when the program fails or never gets there; what [`footprint`] gives.
    pub(super) fn of_last(run: &Run<'_>, root: &str) -> Result<Self> {
        let Footprint { functions, addresses: ranges, .. } = footprint(run.elf, root)?;
        let filter: Vec<String> = ranges.iter().map(|r| format!("{:#x}..{:#x}", r.start, r.end - 1)).collect();
        let filter = filter.join(",");
        let options = [single_step(), &["-d", "exec,nochain", "-dfilter", &filter]].concat();
        let (outcome, addresses) = run::run_reading(run, &options, |log| addresses(BufReader::new(log)))?;
        outcome.succeeded()?;
        let short = |range: Range<u64>| range.start as u32..range.end as u32;
        let functions: Vec<_> =
            functions.into_iter().map(|(name, _)| name).zip(ranges.into_iter().map(short)).collect();
        let mut trace = Self { addresses, functions, code: code(run.elf)? };
        let root = trace.function(root).ok_or_else(|| failed(run.machine, format!("{root} is not one function")))?;
        let start = trace.addresses.iter().rposition(|&at| at == root.start);
        let start = start.ok_or_else(|| failed(run.machine, "it never came to an inference".into()))?;
        trace.addresses.drain(..start);
        let end = trace.end_of(0).ok_or_else(|| failed(run.machine, "an inference that it began has no end".into()))?;
        trace.addresses.truncate(end);
        Ok(trace)
    }

    /// Where the one function lies whose symbol contains `name`.
    pub(super) fn function(&self, name: &str) -> Option<Range<u32>> {
        let mut found = self.functions.iter().filter(|(symbol, _)| symbol.contains(name)).map(|(_, range)| range);
        found.next().filter(|_| found.next().is_none()).cloned()
    }

    /// The steps of the one execution of a function, with all that it calls; none unless it is executed exactly once.
    pub(super) fn execution_of(&self, function: &Range<u32>) -> Option<Range<usize>> {
        let mut entries = self.addresses.iter().enumerate().filter(|&(_, &at)| at == function.start);
        let (start, _) = entries.next()?;
        let end = self.end_of(start)?;
        entries.all(|(index, _)| index < end).then_some(start..end)
    }

    /// One past the last step of the function that begins at this step. It ends where it returns itself, as every function
    /// does that has a frame; a loop to its own first instruction is still it.
    fn end_of(&self, start: usize) -> Option<usize> {
        let at = self.addresses[start];
        let function = self.functions.iter().map(|(_, range)| range).find(|range| range.start == at)?;
        (start..self.addresses.len())
            .find(|&index| function.contains(&self.addresses[index]) && self.returns(index, function))
            .map(|index| index + 1)
    }

    /// Steps of the whole inference.
    pub(super) fn len(&self) -> usize {
        self.addresses.len()
    }

    /// The steps of a range, in order.
    pub(super) fn steps(&self, range: Range<usize>) -> impl Iterator<Item = Step> {
        range.map(|index| self.step(index))
    }

    fn step(&self, index: usize) -> Step {
        let address = self.addresses[index];
        let [first, second] = self.halfwords(address);
        let bytes = cortex_m4::length(first);
        // The step after the last is the return to the caller.
        let jumped = self.addresses.get(index + 1) != Some(&(address + bytes));
        Step { address, bytes, kind: cortex_m4::kind(first, second), jumped }
    }

    /// BX LR, POP, LDM or LDR from the stack with PC, unless a condition kept them from it.
    fn returns(&self, index: usize, function: &Range<u32>) -> bool {
        let is_return = match self.halfwords(self.addresses[index]) {
            [0x4770, _] | [0xBD00..=0xBDFF, _] => true,
            [0xE8BD, registers] => registers & 0x8000 != 0,
            [0xF85D, second] => second & 0xFF00 == 0xFB00,
            _ => false,
        };
        // The function behind this one may be what is logged next.
        let leaves = self.addresses.get(index + 1).is_none_or(|next| !function.contains(next));
        is_return && (leaves || self.step(index).jumped)
    }

    /// The two halfwords at an address; zeros where there is no code.
    fn halfwords(&self, address: u32) -> [u16; 2] {
        let at = |address: u32| {
            let section =
                |&&(start, ref code): &&(u32, Vec<u16>)| (start..start + 2 * code.len() as u32).contains(&address);
            self.code.iter().find(section).map_or(0, |(start, code)| code[(address - start) as usize / 2])
        };
        [at(address), at(address + 2)]
    }
}

/// The option that makes QEMU look at one instruction at a time. It has had another name since 8.1.
fn single_step() -> &'static [&'static str] {
    let version = Command::new(QEMU_ARM.name).args(["--version"]).finish(Shown::Nothing);
    let version = version.map(|finished| finished.stdout).unwrap_or_default();
    if version_of(&version) >= [8, 1] { &["-accel", "tcg,one-insn-per-tb=on"] } else { &["-singlestep"] }
}

/// The first two numbers of `QEMU emulator version 7.2.22 (...)`.
fn version_of(text: &str) -> [u32; 2] {
    let numbers = text.split_once("version ").map_or("", |(_, rest)| rest);
    let mut numbers = numbers.split(['.', ' ']).map(|number| number.parse().unwrap_or(0));
    [numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)]
}

/// Reads `Trace 0: HOST [BASE/ADDRESS/FLAGS/FLAGS] SYMBOL`, a line for each instruction that is about to be executed, and
/// `Stopped execution of TB chain before HOST [ADDRESS] SYMBOL` when it was not after all.
fn addresses(mut log: impl BufRead) -> Vec<u32> {
    let mut addresses = Vec::new();
    let mut line = String::new();
    while log.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        if let Some((_, rest)) = line.strip_prefix("Trace ").and_then(|rest| rest.split_once('[')) {
            addresses.extend(rest.split('/').nth(1).and_then(|address| u32::from_str_radix(address, 16).ok()));
        } else if line.starts_with("Stopped execution") {
            addresses.pop();
        }
        line.clear();
    }
    addresses
}

/// The ELF's code.
fn code(elf: &Path) -> Result<Vec<(u32, Vec<u16>)>> {
    let bytes = files::read(elf, &files::ELF)?;
    let file = object::File::parse(&*bytes)
        .map_err(|error| Error::bad_file(elf, format!("not an ELF: {error}"), "build it again"))?;
    let code = file.sections().filter(|section| section.kind() == object::SectionKind::Text);
    Ok(code
        .filter_map(|section| {
            let halfwords = section.data().ok()?.as_chunks().0.iter().map(|&pair| u16::from_le_bytes(pair));
            Some((section.address() as u32, halfwords.collect()))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_qemus_log_are_read() {
        let log = "QEMU says something\n\
            Trace 0: 0x7fe350000100 [00800408/08000400/00000110/ff020201] Reset\n\
            Trace 0: 0x7fe350000240 [0000000000800408/0000000008000402/00000110/ff020201] main [inlined]\n\
            Stopped execution of TB chain before 0x7fe350000240 [08000402] main\n\
            Trace 0: 0x7fe350000240 [00800408/08000402/00000110/ff020201]";
        assert_eq!(addresses(log.as_bytes()), [0x0800_0400, 0x0800_0402]);
    }

    #[test]
    fn the_version_decides_the_option() {
        assert_eq!(version_of("QEMU emulator version 7.2.22 (Debian 1:7.2)\n"), [7, 2]);
        assert_eq!(version_of("QEMU emulator version 10.0.2\n"), [10, 0]);
        assert_eq!(version_of("something else"), [0, 0]);
        assert!([10, 0] >= [8, 1] && [8, 0] < [8, 1]);
    }

    /// Two functions: the first calls the second, which returns at once.
    #[test]
    fn an_execution_ends_where_its_function_returns() {
        // push {lr}; bl 0x106; nop; pop {pc} | bx lr
        let code = vec![(0x100, vec![0xB500, 0xF000, 0xF802, 0xBF00, 0xBD00, 0x4770])];
        let functions = vec![("outer".to_owned(), 0x100..0x10A), ("inner".to_owned(), 0x10A..0x10C)];
        let trace = Trace { addresses: vec![0x100, 0x102, 0x10A, 0x106, 0x108, 0x200, 0x10A], functions, code };
        assert_eq!(trace.end_of(0), Some(5));
        assert_eq!(trace.execution_of(&(0x100..0x10A)), Some(0..5));
        // It is executed twice.
        assert_eq!(trace.execution_of(&(0x10A..0x10C)), None);
        let steps: Vec<_> = trace.steps(0..5).map(|step| (step.bytes, step.jumped)).collect();
        assert_eq!(steps, [(2, false), (4, true), (2, true), (2, false), (2, true)]);
        assert_eq!((trace.function("outer"), trace.function("er")), (Some(0x100..0x10A), None));
    }
}

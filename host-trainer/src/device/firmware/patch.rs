//! Puts other numbers into a program that is built, in place: a thousand models need one build. Writes that ELF alone.

use std::path::Path;

use bn_core::file::WeightsFile;
use bn_core::lenet::{FoldedLeNet, LeNet, TENSORS};
use bn_core::network::Role;
use object::{Object, ObjectSection, ObjectSymbol};

use super::{Build, parse_elf};
use crate::error::{Error, Result};
use crate::files;

/// The static that holds the weights: part of its symbol.
pub(super) const WEIGHTS: &str = "5model7WEIGHTS";

/// Puts other weights into a built program, in place.
///
/// # Errors
/// [`Error::Io`], or [`Error::BadFile`] when it is not a program with weights, or the small build cannot hold these.
pub fn replace_weights(elf: &Path, build: Build, weights: &WeightsFile) -> Result<()> {
    let weights = build.baked(weights).map_err(|error| Error::bad_file(elf, error.to_string(), "export it anew"))?;
    replace(elf, &[(WEIGHTS, &weights)])
}

/// Puts f32 networks into a built [`Program::Float`](super::Program::Float), in place.
///
/// # Errors
/// [`Error::Io`], or [`Error::BadFile`] when it is not that program.
pub fn replace_networks(elf: &Path, unfolded: &LeNet, folded: &FoldedLeNet) -> Result<()> {
    // As the two lie in memory: their tensors in order, each BatchNorm followed by its eps.
    let eps = [unfolded.bn1.eps, unfolded.bn2.eps, unfolded.bn3.eps, unfolded.bn4.eps].map(Some);
    let mut eps = eps.into_iter();
    let tensors = TENSORS.iter().zip(unfolded.tensors()).flat_map(|(spec, values)| {
        let end = if spec.role == Role::RunningVar { eps.next().flatten() } else { None };
        values.iter().copied().chain(end)
    });
    let unfolded: Vec<u8> = tensors.flat_map(f32::to_le_bytes).collect();
    let FoldedLeNet { conv1, conv2, linear1, linear2, linear3 } = folded;
    let layers: [(&[f32], &[f32]); 5] = [
        (conv1.flat(), &conv1.bias),
        (conv2.flat(), &conv2.bias),
        (linear1.flat(), &linear1.bias),
        (linear2.flat(), &linear2.bias),
        (linear3.flat(), &linear3.bias),
    ];
    let folded = layers.iter().flat_map(|(weight, bias)| weight.iter().chain(*bias));
    let folded: Vec<u8> = folded.flat_map(|value| value.to_le_bytes()).collect();
    replace(elf, &[("float6device8UNFOLDED", &unfolded), ("float6device6FOLDED", &folded)])
}

/// Lets `change` do to the weights of a built program what damaged flash would.
///
/// # Errors
/// [`Error::Io`], or [`Error::BadFile`] when it is not a program with weights.
pub fn change_weights(elf: &Path, change: impl FnOnce(&mut [u8])) -> Result<()> {
    let mut bytes = files::read(elf, &files::ELF)?;
    change(place(elf, &mut bytes, WEIGHTS)?);
    files::write(elf, &bytes)
}

/// Puts other bytes in the place of statics, each found by a part of its symbol.
fn replace(elf: &Path, statics: &[(&str, &[u8])]) -> Result<()> {
    let mut bytes = files::read(elf, &files::ELF)?;
    for &(name, contents) in statics {
        match place(elf, &mut bytes, name)? {
            place if place.len() == contents.len() => place.copy_from_slice(contents),
            _ => return Err(missing(elf, name)),
        }
    }
    files::write(elf, &bytes)
}

/// The bytes of a static, within those of its ELF.
fn place<'a>(elf: &Path, bytes: &'a mut [u8], name: &str) -> Result<&'a mut [u8]> {
    let file = parse_elf(elf, bytes)?;
    let place = symbol(&file, name).and_then(|symbol| {
        let section = file.section_by_index(symbol.section_index()?).ok()?;
        let (start, _) = section.file_range()?;
        let start = usize::try_from(start + symbol.address().checked_sub(section.address())?).ok()?;
        Some(start..start + usize::try_from(symbol.size()).ok()?)
    });
    place.and_then(|place| bytes.get_mut(place)).ok_or_else(|| missing(elf, name))
}

fn missing(elf: &Path, name: &str) -> Error {
    Error::bad_file(elf, format!("no {name} is in it"), "build it again")
}

/// A static, by a part of its mangled name.
pub(super) fn symbol<'data, 'file>(
    file: &'file object::File<'data>,
    part: &str,
) -> Option<object::Symbol<'data, 'file>> {
    file.symbols().find(|symbol| symbol.name().is_ok_and(|name| name.contains(part)))
}

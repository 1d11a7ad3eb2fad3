//! A folder of pictures: a subfolder a class, below `train/` and `test/` where the data says which examples test. Pictures are decoded on
//! all cores; which one is refused does not depend on their number.

use std::fs;
use std::path::{Path, PathBuf};

use bn_core::network::Shape;

use super::{MAX_CLASSES, Own};
use crate::cores::cores;
use crate::data::idx::MAX_EXAMPLES;
use crate::data::picture;
use crate::data::{Inputs, Split, Values};
use crate::error::{Error, Result};
use crate::notice::notice;

/// What systems leave in folders.
const LEFTOVERS: [&str; 4] = ["Thumbs.db", "desktop.ini", "__MACOSX", "Icon\r"];
/// Shape of a picture where nobody asks for another: `data` only looks whether they are sound.
const ANY_SHAPE: Shape = Shape::new(1, 28, 28);

const REMEDY: &str =
    "give a folder with a subfolder of pictures for each class, or train/ and test/ with such subfolders";

/// How deep pictures may lie in a folder that is to be classified: `test/class/picture`, and one more.
const DEPTH: usize = 3;

/// The pictures that a path names: itself, or all in a folder and in its folders, in order.
///
/// # Errors
/// [`Error::BadFile`] of a folder without a picture, or with folders that lie too deep in it.
pub fn below(path: &Path) -> Result<Vec<PathBuf>> {
    fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
        let (folders, files) = list(folder)?;
        found.extend(files);
        if found.len() > MAX_EXAMPLES {
            return Err(Error::bad_file(folder, format!("it has more than {MAX_EXAMPLES} pictures"), "take fewer"));
        }
        match folders.first() {
            Some(deep) if depth == DEPTH => Err(Error::bad_file(deep, "it lies too deep in the folder", "name it")),
            _ => folders.iter().try_for_each(|inner| collect(inner, depth + 1, found)),
        }
    }
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    collect(path, 0, &mut found)?;
    if found.is_empty() {
        return Err(Error::bad_file(path, "it holds no picture", "put pictures there"));
    }
    Ok(found)
}

/// Reads a folder.
///
/// # Errors
/// [`Error::BadFile`] that names the file or folder at fault.
pub(super) fn read(folder: &Path, shape: Option<Shape>) -> Result<Own> {
    let shape = shape.unwrap_or(ANY_SHAPE);
    let (folders, files) = list(folder)?;
    let named = |name: &str| folders.iter().find(|path| path.file_name().is_some_and(|n| n == name));
    let Some(train) = named("train") else {
        refuse_files(&files)?;
        let classes = classes_of(folder, &folders)?;
        picture::check_shape(shape)?;
        return Ok(Own { train: split(&folders, &classes, &classes, shape)?, test: None, classes });
    };
    let Some(test) = named("test") else {
        return Err(Error::bad_file(folder, "it has train/ but no test/", "name the folder of test pictures test/"));
    };
    refuse_files(&files)?;
    if let Some(other) = folders.iter().find(|path| *path != train && *path != test) {
        notice(&format!("notice: {} is not read; train/ and test/ are", other.display()));
    }
    let ((train_folders, train_files), (test_folders, test_files)) = (list(train)?, list(test)?);
    refuse_files(&train_files)?;
    refuse_files(&test_files)?;
    let (classes, tested) = (classes_of(train, &train_folders)?, classes_of(test, &test_folders)?);
    if let Some(name) = tested.iter().find(|name| !classes.contains(name)) {
        let problem = format!("the class {name} is not in train/");
        return Err(Error::bad_file(test.join(name), problem, "put training pictures of it there, or remove it"));
    }
    picture::check_shape(shape)?;
    let train = split(&train_folders, &classes, &classes, shape)?;
    Ok(Own { train, test: Some(split(&test_folders, &tested, &classes, shape)?), classes })
}

/// Subfolders and files, sorted, without hidden ones and what systems leave behind. Names that are numbers are sorted as numbers.
fn list(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let path = entry.map_err(Error::io("read", folder))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(Error::bad_file(&path, "its name is not Unicode", "rename it"));
        };
        if name.starts_with('.') || LEFTOVERS.contains(&name) {
            continue;
        }
        if path.is_dir() { folders.push(path) } else { files.push(path) }
    }
    files.sort();
    let number = |path: &PathBuf| name(path).parse::<u64>();
    let are_numbers = folders.iter().all(|path| number(path).is_ok());
    folders.sort_by(|a, b| match (are_numbers, number(a), number(b)) {
        (true, Ok(a), Ok(b)) => a.cmp(&b),
        _ => a.cmp(b),
    });
    Ok((folders, files))
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// A picture beside the class folders has no class.
fn refuse_files(files: &[PathBuf]) -> Result<()> {
    match files.first() {
        Some(file) => Err(Error::bad_file(file, "it lies beside the folders of classes, so it has no class", REMEDY)),
        None => Ok(()),
    }
}

fn classes_of(folder: &Path, folders: &[PathBuf]) -> Result<Vec<String>> {
    match folders.len() {
        0 => Err(Error::bad_file(folder, "it has no subfolder", REMEDY)),
        count if count > MAX_CLASSES => {
            let problem = format!("it has {count} subfolders, and at most {MAX_CLASSES} classes are told apart");
            Err(Error::bad_file(folder, problem, REMEDY))
        }
        _ => Ok(folders.iter().map(|path| name(path).to_owned()).collect()),
    }
}

/// The pictures of class folders. `names` are the folders', `classes` have the labels.
fn split(folders: &[PathBuf], names: &[String], classes: &[String], shape: Shape) -> Result<Split> {
    let mut pictures = Vec::new();
    for (folder, name) in folders.iter().zip(names) {
        let (inner, files) = list(folder)?;
        if let Some(inner) = inner.first() {
            return Err(Error::bad_file(inner, "this is a folder inside a class's folder", "move its pictures up"));
        }
        if files.is_empty() {
            return Err(Error::bad_file(folder, "it holds no picture", "put pictures there, or remove it"));
        }
        let label = classes.iter().position(|class| class == name).expect("checked by the caller");
        pictures.extend(files.into_iter().map(|file| (file, label as u8)));
    }
    if pictures.len() > MAX_EXAMPLES {
        let problem = format!("there are {} pictures, more than the {MAX_EXAMPLES} that are read", pictures.len());
        return Err(Error::bad_file(&folders[0], problem, "take fewer"));
    }
    let (paths, labels): (Vec<PathBuf>, Vec<u8>) = pictures.into_iter().unzip();
    let values = each(&paths, |path| picture::read(path, shape).map(|picture| picture.planes()))?;
    Ok(Split { inputs: Inputs::new(shape, Values::U8(values.concat())), labels })
}

/// What `read` makes of each file, on all cores; the first that is refused in their order.
///
/// # Errors
/// Whatever `read` gives.
pub fn each<T: Send>(paths: &[PathBuf], read: impl Fn(&Path) -> Result<T> + Sync) -> Result<Vec<T>> {
    let share = paths.len().div_ceil(cores()).max(1);
    let run = |part: &[PathBuf]| part.iter().map(|path| read(path)).collect::<Result<Vec<T>>>();
    let run = &run;
    let parts: Vec<Result<Vec<T>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = paths.chunks(share).map(|part| scope.spawn(move || run(part))).collect();
        threads.into_iter().map(|thread| thread.join().expect("decoding does not panic")).collect()
    });
    Ok(parts.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

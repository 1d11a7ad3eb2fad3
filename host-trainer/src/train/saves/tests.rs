//! One of the two checkpoints is damaged, missing, exchanged or another run's.

use super::*;
use crate::train::checkpoint::{Origin, tests::example};

/// The example, with its training state changed.
fn changed(change: impl FnOnce(&mut TrainingState)) -> Checkpoint {
    let mut checkpoint = example();
    let Origin::Trained(state) = &mut checkpoint.origin else { panic!("the example was trained") };
    change(state);
    checkpoint
}

/// A directory with two checkpoints in it, the later one two steps further.
fn two_saves() -> (tempfile::TempDir, [Checkpoint; 2]) {
    let directory = tempfile::tempdir().unwrap();
    let mut before = changed(|state| (state.step, state.partial) = (0, Default::default()));
    before.batches_tracked = 3;
    let mut saves = Saves::of_new_run(directory.path(), false).unwrap();
    assert!(!saves.any());
    saves.write(&before).unwrap();
    assert!(saves.any() && !saves.directory().previous_checkpoint().exists());
    saves.write(&example()).unwrap();
    drop(saves);
    (directory, [before, example()])
}

fn refused(directory: &Path) -> String {
    let error = Saves::open(directory).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let message = error.to_string();
    assert!(message.contains("checkpoint.safetensors: ") && !message.contains('\n'), "{message}");
    message
}

#[test]
fn the_last_two_are_kept_and_the_later_one_is_resumed() {
    let (directory, [before, after]) = two_saves();
    let saved = Saves::open(directory.path()).unwrap();
    assert_eq!((&saved.checkpoint, &saved.notice), (&after, &None));
    assert_eq!(Checkpoint::read(&saved.saves.directory().previous_checkpoint()).unwrap(), before);
}

#[test]
fn a_damaged_or_missing_checkpoint_is_said_and_the_previous_one_taken() {
    let (directory, [before, after]) = two_saves();
    let path = directory.path().join("checkpoint.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    for damaged in [Some(&whole[..whole.len() / 2]), Some(&[]), Some(&flipped), Some(&[0; 4096]), None] {
        match damaged {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let mut saved = Saves::open(directory.path()).unwrap();
        assert_eq!(saved.checkpoint, before);
        let notice = saved.notice.unwrap();
        assert!(notice.starts_with(&path.display().to_string()) && !notice.contains('\n'), "{notice}");
        assert!(notice.contains("; going on from the one before it, ") && notice.contains("previous"), "{notice}");
        // What is damaged never takes the place of the good one.
        saved.saves.write(&after).unwrap();
        assert_eq!(Checkpoint::read(&saved.saves.directory().previous_checkpoint()).unwrap(), before);
    }
}

#[test]
fn a_damaged_previous_one_is_replaced_by_the_next_save() {
    let (directory, [_, after]) = two_saves();
    let previous = directory.path().join("checkpoint.previous.safetensors");
    std::fs::write(&previous, b"damaged").unwrap();
    let mut saved = Saves::open(directory.path()).unwrap();
    assert_eq!(saved.checkpoint, after);
    saved.saves.write(&after).unwrap();
    assert_eq!(Checkpoint::read(&previous).unwrap(), after);
}

#[test]
fn where_both_are_damaged_both_are_named() {
    let (directory, _) = two_saves();
    for name in ["checkpoint.safetensors", "checkpoint.previous.safetensors"] {
        std::fs::write(directory.path().join(name), b"damaged").unwrap();
    }
    let message = refused(directory.path());
    assert!(message.contains("checkpoint.previous.safetensors: ") && message.contains("start a new run"), "{message}");
    std::fs::remove_file(directory.path().join("checkpoint.previous.safetensors")).unwrap();
    assert!(!refused(directory.path()).contains("previous"));
}

#[test]
fn a_checkpoint_of_another_run_is_not_resumed() {
    let (directory, _) = two_saves();
    let others = [
        (changed(|state| state.seed = 3), "seeds 3 and 18446744073709551615"),
        (changed(|state| state.recipe.lr = 0.125), "recipes "),
        (changed(|state| state.dataset_digest = "0".repeat(32)), "trained on garments and garments, or on other parts"),
        (changed(|state| state.history[0].train.loss += 1.0), "other figures for epoch 1"),
    ];
    for (other, difference) in others {
        other.write(&directory.path().join("checkpoint.safetensors")).unwrap();
        let message = refused(directory.path());
        assert!(message.contains(difference) && message.contains("are not of one run"), "{message}");
    }
    let more_epochs = changed(|state| (state.recipe.epochs, state.engine) = (99, "cpu".into()));
    more_epochs.write(&directory.path().join("checkpoint.safetensors")).unwrap();
    assert_eq!(Saves::open(directory.path()).unwrap().checkpoint, more_epochs);
}

#[test]
fn exchanged_checkpoints_only_cost_time() {
    let (directory, [before, after]) = two_saves();
    before.write(&directory.path().join("checkpoint.safetensors")).unwrap();
    after.write(&directory.path().join("checkpoint.previous.safetensors")).unwrap();
    assert_eq!(Saves::open(directory.path()).unwrap().checkpoint, before);
}

#[test]
fn nothing_of_a_replaced_run_is_taken_for_the_new_ones() {
    let (directory, [before, _]) = two_saves();
    let old =
        ["checkpoint.previous.safetensors", "metrics.jsonl", "curves.svg"].map(|name| directory.path().join(name));
    for path in &old {
        std::fs::write(path, b"old").unwrap();
    }
    Saves::of_new_run(directory.path(), true).unwrap().write(&before).unwrap();
    assert!(old.iter().all(|path| !path.exists()));
}

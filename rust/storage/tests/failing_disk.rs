//! Every operation of every publication fails in turn: the old content or the new, never a part, and nothing left over.
#![allow(clippy::unwrap_used)]

mod scenarios;

use std::path::Path;

use scenarios::{ALL, Content, Scenario};
use stategpt_storage::simulated::{Abilities, FailingDisk, Fault, Operation, SimulatedDisk};
use stategpt_storage::{RealDisk, Storage, StorageError};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;
const ROOT: &str = "/";

fn operations(scenario: &Scenario) -> usize {
    let disk = FailingDisk::counting(scenario.disk(Abilities::default()));
    scenario.publish(&disk, Path::new(ROOT)).unwrap();
    disk.log().len()
}

/// Publishes on a disk with one fault; returns the disk and the outcome.
fn publish_with(
    scenario: &Scenario,
    at: usize,
    fault: Fault,
) -> (FailingDisk<SimulatedDisk>, Result<(), StorageError>) {
    let disk = FailingDisk::new(scenario.disk(Abilities::default()), at, fault);
    let outcome = scenario.publish(&disk, Path::new(ROOT));
    disk.inner().restart();
    (disk, outcome)
}

fn assert_whole(
    scenario: &Scenario,
    disk: &dyn Storage,
    root: &Path,
    acknowledged: bool,
    case: &str,
) {
    let content = scenario.content(disk, root);
    let allowed = content == Content::New || (content == scenario.before() && !acknowledged);
    assert!(
        allowed,
        "{case}: found {content:?}, acknowledged: {acknowledged}"
    );
}

fn assert_next_publication_cleans(
    scenario: &Scenario,
    disk: &dyn Storage,
    root: &Path,
    case: &str,
) {
    scenario.publish(disk, root).unwrap();
    assert_eq!(scenario.content(disk, root), Content::New, "{case}");
    assert_eq!(scenario.leftovers(disk, root), [""; 0], "{case}");
}

/// After most single faults nothing is left over. The exceptions: cleaning itself failed; the disk is gone; or the parent
/// could not be fsynced after an exchange, and removing the old folder might remove what a power loss brings back.
fn may_leave_something(scenario: &Scenario, failed: &Operation, fault: Fault) -> bool {
    let cleans = ["remove_file", "remove_folder", "kind", "entries"].contains(&failed.name);
    let undecided = failed.name == "fsync_folder" && scenario.is_folder && scenario.replaces;
    cleans || undecided || matches!(fault, Fault::Dead(_))
}

#[test]
fn any_failed_operation_leaves_the_old_content_or_the_new() {
    let mut points = 0;
    for scenario in ALL {
        for at in 0..operations(&scenario) {
            for fault in [
                Fault::Error(ENOSPC),
                Fault::Error(EIO),
                Fault::Torn(EDQUOT),
                Fault::Dead(EIO),
            ] {
                let (disk, outcome) = publish_with(&scenario, at, fault);
                let failed = &disk.log()[at];
                let case = format!("{scenario:?}, {fault:?} at {at}: {failed:?}, {outcome:?}");
                assert_whole(
                    &scenario,
                    disk.inner(),
                    Path::new(ROOT),
                    outcome.is_ok(),
                    &case,
                );
                if !may_leave_something(&scenario, failed, fault) {
                    let leftovers = scenario.leftovers(disk.inner(), Path::new(ROOT));
                    assert_eq!(leftovers, [""; 0], "{case}");
                }
                assert_next_publication_cleans(&scenario, disk.inner(), Path::new(ROOT), &case);
                points += 1;
            }
        }
    }
    assert!(points >= 500, "only {points} points were tried");
}

#[test]
fn short_writes_and_reads_change_nothing() {
    for scenario in ALL {
        for at in 0..operations(&scenario) {
            let (disk, outcome) = publish_with(&scenario, at, Fault::Short);
            outcome.unwrap();
            assert_eq!(
                scenario.content(disk.inner(), Path::new(ROOT)),
                Content::New
            );
        }
    }
}

#[test]
fn a_failed_fsync_is_never_retried() {
    for scenario in ALL {
        for at in 0..operations(&scenario) {
            let (disk, outcome) = publish_with(&scenario, at, Fault::Error(EIO));
            let log = disk.log();
            if !log[at].name.starts_with("fsync") {
                continue;
            }
            assert!(
                matches!(
                    outcome,
                    Err(StorageError::Io {
                        operation: "fsync" | "rename",
                        ..
                    })
                ),
                "{outcome:?}"
            );
            let again = log[at + 1..]
                .iter()
                .filter(|operation| **operation == log[at])
                .count();
            assert_eq!(again, 0, "{scenario:?}: {:?} was requested again", log[at]);
        }
    }
}

#[test]
fn a_full_disk_and_a_quota_are_out_of_space_with_the_path() {
    for code in [ENOSPC, EDQUOT] {
        let scenario = ALL[0];
        let at = FailingDisk::counting(scenario.disk(Abilities::default()));
        scenario.publish(&at, Path::new(ROOT)).unwrap();
        let write = at
            .log()
            .iter()
            .position(|operation| operation.name == "write")
            .unwrap();
        let error = publish_with(&scenario, write, Fault::Error(code))
            .1
            .unwrap_err();
        assert!(
            matches!(
                error,
                StorageError::OutOfSpace {
                    operation: "write",
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(error.to_string().contains("run/stage"), "{error}");
    }
}

#[test]
fn the_real_disk_keeps_the_same_promise() {
    for scenario in ALL.into_iter().filter(|scenario| scenario.can_exchange) {
        for fault in [Fault::Error(ENOSPC), Fault::Torn(EIO), Fault::Dead(EIO)] {
            for at in 0..operations(&scenario) {
                let folder = scenarios::folder_in_memory();
                scenario.prepare(&RealDisk, folder.path()).unwrap();
                let outcome =
                    scenario.publish(&FailingDisk::new(RealDisk, at, fault), folder.path());
                let case = format!("{scenario:?}, {fault:?} at {at}: {outcome:?}");
                assert_whole(&scenario, &RealDisk, folder.path(), outcome.is_ok(), &case);
                assert_next_publication_cleans(&scenario, &RealDisk, folder.path(), &case);
            }
        }
    }
}

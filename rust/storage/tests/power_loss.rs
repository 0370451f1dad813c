//! Power fails at every operation of every publication, with many ways for the disk to forget.
#![allow(clippy::unwrap_used)]

mod scenarios;

use std::path::Path;

use scenarios::{ALL, Content, Scenario};
use stategpt_storage::Storage;
use stategpt_storage::simulated::{Abilities, FailingDisk, SimulatedDisk};

const ROOT: &str = "/";
const SEEDS: u64 = 64;

fn operations(scenario: &Scenario, abilities: Abilities) -> usize {
    let disk = FailingDisk::counting(scenario.disk(abilities));
    scenario.publish(&disk, Path::new(ROOT)).unwrap();
    disk.log().len()
}

/// Publishes, stops after `at` operations and loses power. Says what is there, and whether the publisher had returned.
fn crash(scenario: &Scenario, disk: &SimulatedDisk, at: usize, seed: u64) -> (Content, bool) {
    disk.stop_after(at);
    let acknowledged = scenario.publish(disk, Path::new(ROOT)).is_ok();
    disk.lose_power(seed);
    (scenario.content(disk, Path::new(ROOT)), acknowledged)
}

/// Every (point, seed) of one scenario whose outcome breaks the promise, and how many were tried.
fn broken_schedules(scenario: &Scenario, abilities: Abilities, seeds: u64) -> (Vec<String>, u64) {
    let (mut broken, mut tried) = (Vec::new(), 0);
    for at in 0..=operations(scenario, abilities) {
        for seed in 0..seeds {
            let disk = scenario.disk(abilities);
            let (content, acknowledged) = crash(scenario, &disk, at, seed);
            let kept = content == Content::New || (content == scenario.before() && !acknowledged);
            if !kept {
                broken.push(format!("{scenario:?}, stop at {at}, seed {seed}: {content:?}, acknowledged {acknowledged}"));
            }
            tried += 1;
        }
    }
    (broken, tried)
}

#[test]
fn power_loss_at_any_operation_keeps_the_old_content_or_the_new_and_all_that_was_acknowledged() {
    let mut schedules = 0;
    for scenario in ALL {
        let (broken, tried) = broken_schedules(&scenario, Abilities::default(), SEEDS);
        assert_eq!(broken, [""; 0]);
        schedules += tried;
    }
    assert!(schedules >= 10_000, "only {schedules} schedules were tried");
}

#[test]
fn a_second_power_loss_during_the_next_publication_does_no_harm_and_the_third_attempt_cleans_up() {
    for scenario in ALL {
        let points = operations(&scenario, Abilities::default());
        for first in 0..=points {
            for second in (first % 3..=points + 4).step_by(3) {
                let disk = scenario.disk(Abilities::default());
                let seed = (first * 1000 + second) as u64;
                let (before, _) = crash(&scenario, &disk, first, seed);
                let (after, acknowledged) = crash(&scenario, &disk, second, seed + 7);
                let case =
                    format!("{scenario:?} at {first}, then {second}: {before:?} became {after:?}");
                assert!(
                    after == Content::New || (after == before && !acknowledged),
                    "{case}"
                );
                scenario.publish(&disk, Path::new(ROOT)).unwrap();
                assert_eq!(
                    scenario.content(&disk, Path::new(ROOT)),
                    Content::New,
                    "{case}"
                );
                assert_eq!(
                    scenario.leftovers(&disk, Path::new(ROOT)),
                    [""; 0],
                    "{case}"
                );
            }
        }
    }
}

#[test]
fn a_kill_without_power_loss_keeps_the_promise_too() {
    for scenario in ALL {
        for at in 0..=operations(&scenario, Abilities::default()) {
            let disk = scenario.disk(Abilities::default());
            kill(&scenario, &disk, at);
            scenario.publish(&disk, Path::new(ROOT)).unwrap();
            assert_eq!(scenario.leftovers(&disk, Path::new(ROOT)), [""; 0]);
        }
    }
}

/// Kills a publisher after `at` operations, without power loss; what it wrote is seen but perhaps not durable.
fn kill(scenario: &Scenario, disk: &SimulatedDisk, at: usize) -> (Content, bool) {
    disk.stop_after(at);
    let acknowledged = scenario.publish(disk, Path::new(ROOT)).is_ok();
    disk.restart();
    let content = scenario.content(disk, Path::new(ROOT));
    let allowed = content == Content::New || (content == scenario.before() && !acknowledged);
    assert!(
        allowed,
        "{scenario:?} killed at {at}: {content:?}, acknowledged {acknowledged}"
    );
    (content, acknowledged)
}

#[test]
fn power_loss_while_the_leftovers_of_a_kill_are_cleaned_does_no_harm() {
    for scenario in ALL {
        let points = operations(&scenario, Abilities::default());
        for killed_at in 0..=points {
            for stop_at in (killed_at % 3..=points + 12).step_by(3) {
                let disk = scenario.disk(Abilities::default());
                let (_, was_acknowledged) = kill(&scenario, &disk, killed_at);
                let (content, acknowledged) = crash(
                    &scenario,
                    &disk,
                    stop_at,
                    (killed_at * 1000 + stop_at) as u64,
                );
                let old_allowed =
                    content == scenario.before() && !acknowledged && !was_acknowledged;
                let case = format!(
                    "{scenario:?} killed at {killed_at}, power lost at {stop_at}: {content:?}"
                );
                assert!(content == Content::New || old_allowed, "{case}");
            }
        }
    }
}

#[test]
fn the_simulation_would_notice_a_missing_fsync() {
    let without = [
        Abilities {
            fsync_files: false,
            ..Abilities::default()
        },
        Abilities {
            fsync_folders: false,
            ..Abilities::default()
        },
    ];
    for abilities in without {
        for scenario in ALL.into_iter().filter(|scenario| !scenario.replaces) {
            let (broken, tried) = broken_schedules(&scenario, abilities, 8);
            assert!(
                broken.len() > 5,
                "{abilities:?} {scenario:?}: {} of {tried} broken",
                broken.len()
            );
        }
    }
}

#[test]
fn unsynced_writes_tear_at_sectors_and_synced_ones_stay() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let disk = SimulatedDisk::new(Abilities::default());
        let mut file = disk.create_file(Path::new("/f")).unwrap();
        file.write(&[1; 512]).unwrap();
        file.fsync().unwrap();
        disk.fsync_folder(Path::new("/")).unwrap();
        file.write(&[2; 1024]).unwrap();
        disk.lose_power(seed);
        let mut bytes = [9; 1536];
        let size = file.read_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes[..512], [1; 512]);
        seen.insert((size, bytes.get(512).copied(), bytes.get(1024).copied()));
    }
    assert!(seen.len() >= 5, "only these outcomes: {seen:?}");
}

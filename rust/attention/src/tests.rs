//! Attention against its definition, and bit for bit against itself in other companies.

use proptest::prelude::*;

use crate::*;
use stategpt_simd::Tier;

mod world;

use world::{Numbers, Sizes, World};

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

fn sizes() -> impl Strategy<Value = Sizes> {
    let pick = prop_oneof![
        Just((1, 1)),
        Just((2, 2)),
        Just((3, 1)),
        Just((6, 2)),
        Just((8, 1)),
        Just((14, 2)),
    ];
    let width = prop_oneof![
        Just(64_usize),
        Just(8),
        Just(16),
        Just(40),
        Just(96),
        1_usize..80
    ];
    (pick, width).prop_map(|((heads, groups), width)| Sizes {
        heads,
        groups,
        width,
    })
}

fn options(scale: f32) -> impl Strategy<Value = Options> {
    let window = prop_oneof![Just(None), (1_usize..60).prop_map(Some)];
    let softcap = prop_oneof![Just(None), Just(Some(30.0_f32)), Just(Some(2.0))];
    (window, softcap).prop_map(move |(window, softcap)| Options {
        scale,
        window,
        softcap,
        threads: 1,
    })
}

/// (length, whole pages shared with the sequence before)
fn lengths() -> impl Strategy<Value = Vec<(usize, usize)>> {
    prop::collection::vec((1_usize..110, 0_usize..6), 1..7)
}

fn company_changes_nothing<E: Element>(
    sizes: Sizes,
    lengths: &[(usize, usize)],
    options: &Options,
    seed: u64,
) {
    let tier = Tier::of_machine();
    let mut world = World::<E>::new(sizes, lengths, seed);
    let together = world.shuffled(tier, options, &mut Numbers(seed ^ 1));
    for (index, together) in together.iter().enumerate() {
        // Alone: in a pool that holds nothing else, token by token, or all at once by the portable instructions.
        let mut alone = World::<E>::new(sizes, lengths, seed);
        let mut single = Vec::new();
        for position in 0..lengths[index].0 {
            single.extend(alone.step(tier, &[(index, position, 1)], options));
        }
        assert_eq!(bits(together), bits(&single), "sequence {index}");
        let mut fresh = World::<E>::new(sizes, lengths, seed);
        let portable = fresh.step(Tier::Portable, &[(index, 0, lengths[index].0)], options);
        assert_eq!(
            bits(together),
            bits(&portable),
            "sequence {index}, portable"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn company_does_not_change_a_bit(
        sizes in sizes(), lengths in lengths(), options in options(0.3), seed in any::<u64>()
    ) {
        company_changes_nothing::<f32>(sizes, &lengths, &options, seed);
        company_changes_nothing::<Bf16>(sizes, &lengths, &options, seed);
    }

    #[test]
    fn branches_of_branches_have_the_bits_that_they_have_alone(
        sizes in sizes(), options in options(0.3), seed in any::<u64>(),
        lengths in prop::collection::vec((20_usize..100, 0_usize..6), 3..10),
    ) {
        let tier = Tier::of_machine();
        let mut world = World::<f32>::new(sizes, &lengths, seed);
        let (mut alone, mut rows) = (Vec::new(), Vec::new());
        for (index, &(length, _)) in lengths.iter().enumerate() {
            let outputs = world.step(tier, &[(index, 0, length)], &options);
            // The last tokens again, where no other sequence has their pages.
            let size = sizes.heads * sizes.width;
            let tokens = 1 + (seed as usize + index) % 3;
            let table = &world.sequences[index].table;
            let written = &table[(length - tokens) / PAGE_TOKENS..];
            let others = world.sequences.iter().enumerate().filter(|(other, _)| *other != index);
            if others.clone().all(|(_, other)| written.iter().all(|page| !other.table.contains(page))) {
                rows.push((index, length - tokens, tokens));
                alone.extend_from_slice(&outputs[(length - tokens) * size..]);
            }
        }
        let together = world.step(tier, &rows, &Options { threads: 2, ..options });
        prop_assert_eq!(bits(&together), bits(&alone));
    }

    #[test]
    fn outputs_are_within_the_bound_of_the_definition_s(
        sizes in sizes(), length in 1_usize..200, options in options(0.3), seed in any::<u64>(),
        scale in prop_oneof![Just(0.125_f32), Just(1.0), Just(-0.5), Just(40.0)],
    ) {
        let options = Options { scale, ..options };
        let mut world = World::<f32>::new(sizes, &[(length, 0)], seed);
        let found = world.step(Tier::of_machine(), &[(0, 0, length)], &options);
        let mut stored = World::<Bf16>::new(sizes, &[(length, 0)], seed);
        let rounded = stored.step(Tier::of_machine(), &[(0, 0, length)], &options);
        let size = sizes.heads * sizes.width;
        for position in 0..length {
            let place = position * size..(position + 1) * size;
            for (found, (expected, bound)) in found[place.clone()].iter().zip(world.defined(0, position, &options)) {
                prop_assert!((f64::from(*found) - expected).abs() <= bound, "{found} {expected} {bound}");
            }
            for (found, (expected, bound)) in rounded[place].iter().zip(stored.defined(0, position, &options)) {
                prop_assert!((f64::from(*found) - expected).abs() <= bound, "{found} {expected} {bound}");
            }
        }
    }
}

#[test]
fn every_tier_gives_the_bits_of_the_portable_one() {
    let sizes = Sizes {
        heads: 6,
        groups: 2,
        width: 72,
    };
    for softcap in [None, Some(5.0)] {
        let options = Options {
            scale: 0.5,
            window: Some(50),
            softcap,
            threads: 2,
        };
        let mut world = World::<Bf16>::new(sizes, &[(90, 0)], 3);
        let expected = world.step(Tier::Portable, &[(0, 0, 90)], &options);
        for tier in Tier::available() {
            assert_eq!(
                bits(&world.step(tier, &[(0, 0, 90)], &options)),
                bits(&expected),
                "{tier:?}"
            );
        }
    }
}

#[test]
fn a_key_that_is_nan_makes_nan_of_those_that_see_it_only() {
    let sizes = Sizes {
        heads: 2,
        groups: 1,
        width: 16,
    };
    let options = Options {
        scale: 1.0,
        window: None,
        softcap: None,
        threads: 1,
    };
    for broken in [0, 5, 16, 31, 38] {
        let mut world = World::<f32>::new(sizes, &[(40, 0)], 3);
        let clean = world.step(Tier::of_machine(), &[(0, 0, 40)], &options);
        for values in [false, true] {
            let mut world = World::<f32>::new(sizes, &[(40, 0)], 3);
            let sequence = &mut world.sequences[0];
            let list = if values {
                &mut sequence.v
            } else {
                &mut sequence.k
            };
            list[broken].fill(f32::NAN);
            let found = world.step(Tier::of_machine(), &[(0, 0, 40)], &options);
            let (before, after) = found.split_at(broken * 32);
            assert_eq!(bits(before), bits(&clean[..broken * 32]));
            assert!(after.iter().all(|x| x.is_nan()), "position {broken}");
        }
    }
}

#[test]
fn infinite_scores_are_those_of_a_softmax() {
    let sizes = Sizes {
        heads: 1,
        groups: 1,
        width: 1,
    };
    let options = Options {
        scale: 1.0,
        window: None,
        softcap: None,
        threads: 1,
    };
    let mut world = World::<f32>::new(sizes, &[(20, 0)], 3);
    for position in 0..20 {
        world.sequences[0].q[position][0] = 1.0;
        world.sequences[0].k[position][0] = f32::NEG_INFINITY;
        world.sequences[0].v[position][0] = 2.0;
    }
    world.sequences[0].k[18][0] = 1.0;
    let found = world.step(Tier::of_machine(), &[(0, 0, 20)], &options);
    assert!(found[..18].iter().all(|x| x.is_nan()));
    assert_eq!(found[18..], [2.0, 2.0]);
}

mod refused {
    use super::*;

    fn plan(first: &[i32], seen: &[i32], tables: &[&[i32]]) -> Error {
        Plan::new(first, seen, tables).unwrap_err()
    }

    #[test]
    fn plans() {
        assert!(matches!(plan(&[0], &[0], &[&[0]]), Error::Rows { .. }));
        assert!(matches!(plan(&[0, 1], &[0], &[]), Error::Rows { .. }));
        assert!(matches!(plan(&[], &[], &[]), Error::Rows { .. }));
        assert!(matches!(
            plan(&[1, 2], &[0], &[&[0]]),
            Error::First { row: 0, .. }
        ));
        assert!(matches!(
            plan(&[0, 2, 1], &[0, 0], &[&[0], &[1]]),
            Error::First {
                row: 2,
                value: 1,
                before: 2
            }
        ));
        assert!(matches!(
            plan(&[0, 1], &[-1], &[&[0]]),
            Error::Seen { value: -1, .. }
        ));
        assert!(matches!(
            plan(&[0, 1], &[i32::MAX], &[&[0]]),
            Error::Seen { .. }
        ));
        assert!(matches!(
            plan(&[0, 1], &[16], &[&[0]]),
            Error::Table {
                pages: 1,
                needed: 2,
                ..
            }
        ));
        assert!(matches!(
            plan(&[0, 1], &[16], &[&[0, -3]]),
            Error::Page {
                column: 1,
                value: -3,
                ..
            }
        ));
        assert_eq!(
            plan(&[0, 1, 3], &[4, 3], &[&[7], &[7]]),
            Error::Written {
                row: 0,
                other: 1,
                page: 7,
                slot: 4
            }
        );
        assert!(Plan::new(&[0, 1, 3], &[4, 5], &[[7], [7]]).is_ok());
        assert!(
            Plan::new(&[0, 0], &[40], &[[7]]).is_ok(),
            "a row without tokens needs no pages"
        );
    }

    #[test]
    fn operands() {
        let plan = Plan::new(&[0, 1], &[0], &[[2]]).unwrap();
        let shape = Shape {
            pages: 2,
            groups: 2,
            width: 8,
        };
        let mut pool = vec![0.0_f32; 2 * 2 * 8 * 16];
        let options = Options {
            scale: 1.0,
            window: None,
            softcap: None,
            threads: 1,
        };
        let call = |pool: &[f32], shape, q: &[f32], heads| {
            let pages = Pages {
                keys: pool,
                values: pool,
                shape,
            };
            attend(&plan, q, heads, &pages, &options).unwrap_err()
        };
        assert_eq!(
            call(&pool, shape, &[0.0; 32], 4),
            Error::Pool { page: 2, pages: 2 }
        );
        assert!(matches!(
            call(&pool, shape, &[0.0; 31], 4),
            Error::Numbers { name: "q", .. }
        ));
        assert!(matches!(
            call(&pool[1..], shape, &[0.0; 32], 4),
            Error::Numbers { .. }
        ));
        assert!(matches!(
            call(&pool, shape, &[0.0; 24], 3),
            Error::Heads { heads: 3, .. }
        ));
        let (none, token) = (Shape { width: 0, ..shape }, [0.0; 16]);
        assert!(matches!(
            call(&[], none, &[], 4),
            Error::Heads { width: 0, .. }
        ));
        let mut other = pool.clone();
        let found = write(&plan, &token, &token, &mut pool, &mut other, shape);
        assert_eq!(found, Err(Error::Pool { page: 2, pages: 2 }));
        let found = write(&plan, &token[1..], &token, &mut pool, &mut other, shape);
        assert!(matches!(found, Err(Error::Numbers { name: "k", .. })));
        let found = write(&plan, &token, &token, &mut pool, &mut other[1..], shape);
        assert!(matches!(
            found,
            Err(Error::Numbers {
                name: "v_pages",
                ..
            })
        ));
    }
}

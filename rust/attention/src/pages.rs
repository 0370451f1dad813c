//! The pages of a layer, and what writes new keys and values into them.

use std::ops::Range;

use crate::element::Element;
use crate::error::Error;
use crate::plan::{PAGE_TOKENS, Plan};

/// Sizes of a pool of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Pages.
    pub pages: usize,
    /// Key-value heads.
    pub groups: usize,
    /// Width of a head.
    pub width: usize,
}

impl Shape {
    /// Numbers of a page of one head.
    pub(crate) fn block(&self) -> usize {
        self.width * PAGE_TOKENS
    }

    /// Where the numbers of a page of one head are.
    pub(crate) fn place(&self, page: u32, group: usize) -> Range<usize> {
        let start = (page as usize * self.groups + group) * self.block();
        start..start + self.block()
    }

    /// Refuses empty axes, and numbers that are not those of the pool.
    pub(crate) fn check(&self, name: &'static str, found: usize) -> Result<(), Error> {
        let sizes = [self.pages, self.groups, self.width, PAGE_TOKENS];
        let expected = product(&sizes);
        if found != expected {
            return Err(Error::Numbers {
                name,
                found,
                expected,
            });
        }
        Ok(())
    }
}

/// The product of sizes, or the largest number where it is larger.
pub(crate) fn product(sizes: &[usize]) -> usize {
    sizes
        .iter()
        .fold(1, |product, &size| product.saturating_mul(size))
}

/// Writes the new tokens' `keys` and `values` \[N, G, D\] into their slots of `k_pages` \[P, G, D, 16\] and `v_pages`
/// \[P, G, 16, D\], rounded to the nearest where the pages are narrower.
pub fn write<T: Element, E: Element>(
    plan: &Plan,
    keys: &[T],
    values: &[T],
    k_pages: &mut [E],
    v_pages: &mut [E],
    shape: Shape,
) -> Result<(), Error> {
    let expected = product(&[plan.tokens(), shape.groups, shape.width]);
    for (name, found) in [("k", keys.len()), ("v", values.len())] {
        if found != expected {
            return Err(Error::Numbers {
                name,
                found,
                expected,
            });
        }
    }
    shape.check("k_pages", k_pages.len())?;
    shape.check("v_pages", v_pages.len())?;
    plan.check_pool(shape.pages)?;
    if expected == 0 {
        return Ok(());
    }
    for row in &plan.rows {
        for (place, slots, token) in row.slots() {
            let page = plan.pages[row.pages.start + place];
            for group in 0..shape.groups {
                let at = shape.place(page, group);
                let from = Tokens {
                    start: (token * shape.groups + group) * shape.width,
                    stride: shape.groups * shape.width,
                    width: shape.width,
                };
                write_keys(keys, from, &mut k_pages[at.clone()], slots.clone());
                write_values(values, from, &mut v_pages[at], slots.clone());
            }
        }
    }
    Ok(())
}

/// Where the numbers of one head of neighboring tokens are.
#[derive(Clone, Copy)]
struct Tokens {
    start: usize,
    stride: usize,
    width: usize,
}

fn write_keys<T: Element, E: Element>(
    keys: &[T],
    from: Tokens,
    page: &mut [E],
    slots: Range<usize>,
) {
    let (columns, _) = page.as_chunks_mut::<PAGE_TOKENS>();
    for (number, column) in columns.iter_mut().enumerate() {
        let mut at = from.start + number;
        for slot in &mut column[slots.clone()] {
            *slot = E::from_f32(keys[at].to_f32());
            at += from.stride;
        }
    }
}

fn write_values<T: Element, E: Element>(
    values: &[T],
    from: Tokens,
    page: &mut [E],
    slots: Range<usize>,
) {
    let rows = page.chunks_exact_mut(from.width);
    for (number, row) in rows.skip(slots.start).take(slots.len()).enumerate() {
        let start = from.start + number * from.stride;
        for (to, value) in row.iter_mut().zip(&values[start..start + from.width]) {
            *to = E::from_f32(value.to_f32());
        }
    }
}

//! One line of JSON to a validated [`Group`], by hand rather than by derive: each fault gets its path and code.

use serde_json::{Map, Value};

use crate::group::{Completion, Group, MAX_COMPLETIONS, MIN_COMPLETIONS, Pair};
use crate::json;
use crate::problem::Problem;

type Object = Map<String, Value>;

/// Fields of a record; `meta` is the caller's own.
const RECORD_FIELDS: &[&str] = &["id", "prompt", "completions", "pairs", "tokenizer", "meta"];
/// Fields of a completion; `score`, `points` and `source` inform people and are not trained on.
const COMPLETION_FIELDS: &[&str] = &["text", "rank", "ended", "ids", "score", "parts", "source"];

/// Parses and validates one line. Every rule that needs only the record is checked here; unique ids are the reader's.
pub(crate) fn parse_group(line: &[u8]) -> Result<Group, Problem> {
    let text = std::str::from_utf8(line).map_err(|e| Problem::NotUtf8 {
        byte: e.valid_up_to(),
    })?;
    if text.starts_with('\u{feff}') {
        return Err(Problem::ByteOrderMark);
    }
    let value = json::parse(text)?;
    let record = object(&value, "the record")?;
    known_fields(record, RECORD_FIELDS, "")?;
    let id = string(record, "id", "")?;
    let prompt = string(record, "prompt", "")?;
    let completions = completions(record)?;
    let stated_pairs = stated_pairs(record, &completions)?;
    let tokenizer = tokenizer(record, &completions)?;
    if id.is_empty() {
        return Err(Problem::EmptyId);
    }
    if prompt.trim().is_empty() {
        return Err(Problem::EmptyPrompt);
    }
    let group = Group {
        id,
        prompt,
        completions,
        stated_pairs,
        tokenizer,
    };
    no_equals_apart(&group)?;
    Ok(group)
}

fn completions(record: &Object) -> Result<Vec<Completion>, Problem> {
    let items = array(required(record, "completions", "")?, "completions")?;
    if items.len() < MIN_COMPLETIONS {
        return Err(Problem::OneCompletion { found: items.len() });
    }
    if items.len() > MAX_COMPLETIONS {
        return Err(Problem::TooManyCompletions {
            found: items.len(),
            limit: MAX_COMPLETIONS,
        });
    }
    items
        .iter()
        .enumerate()
        .map(|(index, item)| completion(index, item))
        .collect()
}

fn completion(index: usize, item: &Value) -> Result<Completion, Problem> {
    let path = format!("completions[{index}].");
    let fields = object(item, path.trim_end_matches('.'))?;
    known_fields(fields, COMPLETION_FIELDS, &path)?;
    let text = string(fields, "text", &path)?;
    let rank = rank(required(fields, "rank", &path)?, index, &path)?;
    let ended = match fields.get("ended") {
        None => true,
        Some(Value::Bool(ended)) => *ended,
        Some(other) => return Err(wrong_type(format!("{path}ended"), other, "true or false")),
    };
    if text.is_empty() && !ended {
        return Err(Problem::EmptyCompletion { completion: index });
    }
    let ids = match fields.get("ids") {
        None => None,
        Some(value) => Some(token_ids(value, index, &path)?),
    };
    Ok(Completion {
        text,
        rank,
        ended,
        ids,
    })
}

fn token_ids(value: &Value, completion: usize, path: &str) -> Result<Vec<u32>, Problem> {
    let items = array(value, &format!("{path}ids"))?;
    if items.is_empty() {
        return Err(Problem::EmptyIds { completion });
    }
    let mut ids = Vec::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        let Value::Number(number) = item else {
            return Err(wrong_type(
                format!("{path}ids[{place}]"),
                item,
                "an integer from 0",
            ));
        };
        let id = number.as_u64().and_then(|id| u32::try_from(id).ok());
        ids.push(id.ok_or_else(|| Problem::NoTokenId {
            completion,
            place,
            id: number.to_string(),
        })?);
    }
    Ok(ids)
}

fn tokenizer(record: &Object, completions: &[Completion]) -> Result<Option<String>, Problem> {
    let tokenizer = match record.get("tokenizer") {
        None => None,
        Some(_) => Some(string(record, "tokenizer", "")?),
    };
    let with_ids = completions
        .iter()
        .position(|completion| completion.ids.is_some());
    match with_ids {
        Some(completion) if tokenizer.as_ref().is_none_or(String::is_empty) => {
            Err(Problem::IdsWithoutTokenizer { completion })
        }
        _ => Ok(tokenizer),
    }
}

fn rank(value: &Value, completion: usize, path: &str) -> Result<u32, Problem> {
    let Value::Number(number) = value else {
        return Err(wrong_type(
            format!("{path}rank"),
            value,
            "an integer from 1",
        ));
    };
    let rank = number
        .as_u64()
        .and_then(|rank| u32::try_from(rank).ok())
        .filter(|&rank| rank >= 1);
    rank.ok_or_else(|| Problem::UnknownRank {
        completion,
        rank: number.to_string(),
    })
}

fn stated_pairs(record: &Object, completions: &[Completion]) -> Result<Option<Vec<Pair>>, Problem> {
    let Some(value) = record.get("pairs") else {
        return Ok(None);
    };
    let mut pairs: Vec<Pair> = Vec::new();
    for (place, item) in array(value, "pairs")?.iter().enumerate() {
        let [winner, loser] = pair(place, item, completions.len())?;
        let (winner_rank, loser_rank) = (
            completions[winner as usize].rank,
            completions[loser as usize].rank,
        );
        if winner_rank >= loser_rank {
            return Err(Problem::ContradictingPairs {
                pair: place,
                winner,
                winner_rank,
                loser,
                loser_rank,
            });
        }
        if pairs.contains(&[winner, loser]) {
            return Err(Problem::DuplicatePair {
                pair: place,
                winner,
                loser,
            });
        }
        pairs.push([winner, loser]);
    }
    Ok(Some(pairs))
}

fn pair(place: usize, item: &Value, completions: usize) -> Result<Pair, Problem> {
    let path = format!("pairs[{place}]");
    let expected = "[winner index, loser index]";
    let [winner, loser] = array(item, &path)?.as_slice() else {
        return Err(wrong_type(path, item, expected));
    };
    let index = |value: &Value| match value {
        Value::Number(number) => number
            .as_u64()
            .filter(|&index| index < completions as u64)
            .map(|index| index as u32)
            .ok_or_else(|| Problem::PairOutOfRange {
                pair: place,
                index: number.to_string(),
                completions,
            }),
        other => Err(wrong_type(path.clone(), other, expected)),
    };
    Ok([index(winner)?, index(loser)?])
}

fn no_equals_apart(group: &Group) -> Result<(), Problem> {
    for [winner, loser] in group.pairs() {
        let (first, second) = (winner as usize, loser as usize);
        let (one, other) = (&group.completions[first], &group.completions[second]);
        if one.text == other.text && one.ended == other.ended {
            return Err(Problem::EqualCompletionsRankedApart { first, second });
        }
    }
    Ok(())
}

fn known_fields(fields: &Object, known: &[&str], path: &str) -> Result<(), Problem> {
    match fields.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(Problem::UnknownField {
            field: format!("{path}{key}"),
        }),
        None => Ok(()),
    }
}

fn required<'a>(fields: &'a Object, key: &str, path: &str) -> Result<&'a Value, Problem> {
    fields.get(key).ok_or_else(|| Problem::MissingField {
        field: format!("{path}{key}"),
    })
}

fn string(fields: &Object, key: &str, path: &str) -> Result<String, Problem> {
    match required(fields, key, path)? {
        Value::String(text) => Ok(text.clone()),
        other => Err(wrong_type(format!("{path}{key}"), other, "a string")),
    }
}

fn array<'a>(value: &'a Value, path: &str) -> Result<&'a Vec<Value>, Problem> {
    value
        .as_array()
        .ok_or_else(|| wrong_type(path.to_owned(), value, "a list"))
}

fn object<'a>(value: &'a Value, path: &str) -> Result<&'a Object, Problem> {
    value
        .as_object()
        .ok_or_else(|| wrong_type(path.to_owned(), value, "an object"))
}

fn wrong_type(field: String, value: &Value, expected: &'static str) -> Problem {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Problem::WrongType {
        field,
        found,
        expected,
    }
}

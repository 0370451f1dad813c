//! Generated rankings: the same on every machine.

/// `records` valid lines of four completions with ranks 1, 2, 2, 3.
pub fn jsonl(records: usize) -> Vec<u8> {
    let completion = |record: usize, index: usize| {
        let rank = [1, 2, 2, 3][index];
        format!(
            r#"{{"text":"Return item {record} of list {index}, or None.","rank":{rank},"ended":true}}"#
        )
    };
    (0..records)
        .map(|record| {
            let completions: Vec<String> = (0..4).map(|index| completion(record, index)).collect();
            format!(
                "{{\"id\":\"{record}\",\"prompt\":\"What does module.name_{record} do?\",\"completions\":[{}]}}\n",
                completions.join(",")
            )
        })
        .collect::<String>()
        .into_bytes()
}

/// `groups` prompts of `prompt_tokens` ids with `completions` completions of `completion_tokens` ids each.
pub fn token_groups(
    groups: u32,
    completions: u32,
    prompt_tokens: u32,
    completion_tokens: u32,
) -> Vec<(Vec<u32>, Vec<Vec<u32>>)> {
    let ids = |start: u32, tokens: u32| {
        (start..start + tokens)
            .map(|id| id % 4_000 + 16)
            .collect::<Vec<u32>>()
    };
    (0..groups)
        .map(|group| {
            let prompt = ids(group * 7, prompt_tokens);
            (
                prompt,
                (0..completions)
                    .map(|k| ids(group * 31 + k * 1_009, completion_tokens))
                    .collect(),
            )
        })
        .collect()
}

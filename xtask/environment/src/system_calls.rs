//! Which system calls a build may make, as data (`system_calls.toml`), and the forms in which the kernel and container engines take it.

use anyhow::{Context, Result};
use seccompiler::{TargetArch, compile_from_json};
use serde::Deserialize;
use serde_json::{Value, json};

/// ENOSYS of Linux on x86-64: what is not allowed says that the kernel does not have it.
const NOT_IMPLEMENTED: u32 = 38;

/// `system_calls.toml`, the same for every backend.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SystemCalls {
    allow: Vec<Allowed>,
    refuse: Vec<Refused>,
}

/// Calls that are made as if there was no filter.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowed {
    /// The reason.
    #[allow(dead_code, reason = "for whoever reads the table")]
    why: String,
    calls: Vec<String>,
    /// All of these hold; without any, the calls are allowed with all arguments.
    #[serde(default)]
    when: Vec<Condition>,
}

/// What an argument of a call must be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    /// Counted from 0.
    argument: u8,
    /// The bits that count; all where it is not said.
    #[serde(default = "all_bits")]
    mask: u32,
    /// One of these.
    values: Vec<u32>,
}

/// Calls that are not made; everything that is not allowed isn't.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    /// The reason.
    #[allow(dead_code, reason = "for whoever reads the table")]
    why: String,
    calls: Vec<String>,
}

/// An argument, the bits of it that count, and what they must be.
type Test = (u8, u32, u32);

fn all_bits() -> u32 {
    u32::MAX
}

impl Allowed {
    /// Tests which must hold together, in every combination of values.
    fn combinations(&self) -> Vec<Vec<Test>> {
        self.when.iter().fold(vec![Vec::new()], |combinations, condition| {
            let with = |tests: &Vec<Test>, value: &u32| {
                [tests.as_slice(), &[(condition.argument, condition.mask, *value)]].concat()
            };
            combinations
                .iter()
                .flat_map(|tests| condition.values.iter().map(move |value| with(tests, value)))
                .collect()
        })
    }
}

impl SystemCalls {
    /// Reads the table, which is part of this program.
    pub(crate) fn load() -> Result<Self> {
        toml::from_str(include_str!("system_calls.toml")).context("system_calls.toml is malformed")
    }

    /// The filter as the kernel takes it: a program of classic BPF (an array of `struct sock_filter` as it is in memory), for
    /// bubblewrap's `--seccomp`.
    pub(crate) fn program(&self) -> Result<Vec<u8>> {
        let rule = |call: &String, tests: &Vec<Test>| {
            let conditions: Vec<Value> = tests
                .iter()
                .map(|(index, mask, value)| {
                    // The kernel looks at the lower half alone, so that the upper one must not get a call past the filter.
                    json!({"index": index, "type": "dword", "op": {"masked_eq": mask}, "val": value})
                })
                .collect();
            match conditions.is_empty() {
                true => json!({ "syscall": call }),
                false => json!({ "syscall": call, "args": conditions }),
            }
        };
        let rules: Vec<Value> = self.rules(&rule);
        let filter = json!({"build": {
            "mismatch_action": {"errno": NOT_IMPLEMENTED}, "match_action": "allow", "filter": rules,
        }});
        let programs = compile_from_json(filter.to_string().as_bytes(), TargetArch::x86_64)
            .context("system_calls.toml can't be made into a filter")?;
        let program = programs.get("build").context("system_calls.toml made no filter")?;
        let words = program.iter().flat_map(|word| {
            let [code, k] = [word.code.to_ne_bytes().to_vec(), word.k.to_ne_bytes().to_vec()];
            [code, vec![word.jt, word.jf], k].concat()
        });
        Ok(words.collect())
    }

    /// The filter as container engines take it: their own JSON, of which the engine makes the program.
    ///
    /// Docker before 23 does not know `defaultErrnoRet`, and says EPERM of what no rule names: of calls that are allowed with other
    /// arguments. What is refused by name says the same in all.
    ///
    /// <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#seccomp>
    pub(crate) fn profile(&self) -> String {
        let rule = |call: &String, tests: &Vec<Test>| {
            let arguments: Vec<Value> = tests
                .iter()
                .map(|(index, mask, value)| {
                    json!({"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"})
                })
                .collect();
            json!({"names": [call], "action": "SCMP_ACT_ALLOW", "args": arguments})
        };
        let refused: Vec<&String> = self.refuse.iter().flat_map(|group| &group.calls).collect();
        let mut rules = self.rules(&rule);
        rules.push(json!({"names": refused, "action": "SCMP_ACT_ERRNO", "errnoRet": NOT_IMPLEMENTED}));
        let profile = json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": NOT_IMPLEMENTED,
            "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": rules,
        });
        profile.to_string()
    }

    fn rules(&self, rule: &dyn Fn(&String, &Vec<Test>) -> Value) -> Vec<Value> {
        let group = |allowed: &Allowed| -> Vec<Value> {
            let combinations = allowed.combinations();
            allowed.calls.iter().flat_map(|call| combinations.iter().map(|tests| rule(call, tests))).collect()
        };
        self.allow.iter().flat_map(group).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn every_call_has_one_place_and_a_reason() {
        let calls = SystemCalls::load().unwrap();
        let reasons =
            calls.allow.iter().map(|group| &group.why).chain(calls.refuse.iter().map(|group| &group.why));
        assert!(reasons.clone().all(|why| !why.is_empty()));
        let refused: Vec<&String> = calls.refuse.iter().flat_map(|group| &group.calls).collect();
        // A call that is allowed with all arguments stands once; one with conditions may stand in several groups.
        let mut always = BTreeSet::new();
        let mut sometimes: BTreeMap<&String, usize> = BTreeMap::new();
        for group in &calls.allow {
            for call in &group.calls {
                match group.when.is_empty() {
                    true => assert!(always.insert(call), "{call}"),
                    false => *sometimes.entry(call).or_default() += 1,
                }
            }
        }
        assert!(sometimes.keys().all(|call| !always.contains(call)));
        assert!(refused.iter().all(|call| !always.contains(call) && !sometimes.contains_key(call)));
        assert_eq!(refused.iter().collect::<BTreeSet<_>>().len(), refused.len());
    }

    #[test]
    fn the_compiler_knows_every_name() {
        let calls = SystemCalls::load().unwrap();
        let program = calls.program().unwrap();
        // Eight bytes an instruction, and the kernel takes 4,096.
        assert!(program.len().is_multiple_of(8) && program.len() / 8 < 4096, "{}", program.len());
        let refused = calls.refuse.into_iter().map(|group| Allowed {
            why: group.why,
            calls: group.calls,
            when: Vec::new(),
        });
        SystemCalls { allow: refused.collect(), refuse: Vec::new() }.program().unwrap();
    }

    #[test]
    fn conditions_are_combined() {
        let profile: Value = serde_json::from_str(&SystemCalls::load().unwrap().profile()).unwrap();
        let of = |name: &str| -> Vec<String> {
            let rules = profile["syscalls"].as_array().unwrap().iter();
            rules.filter(|rule| rule["names"] == json!([name])).map(|rule| rule["args"].to_string()).collect()
        };
        assert_eq!(of("read"), ["[]"]);
        let family = r#"{"index":0,"op":"SCMP_CMP_MASKED_EQ","value":4294967295,"valueTwo":16}"#;
        let protocol = r#"{"index":2,"op":"SCMP_CMP_MASKED_EQ","value":4294967295,"valueTwo":0}"#;
        let sockets = of("socket");
        // One for AF_UNIX, three protocols of two families, NETLINK_ROUTE.
        assert_eq!(sockets.len(), 1 + 2 * 3 + 1);
        let netlink: Vec<Value> = serde_json::from_str(sockets.last().unwrap()).unwrap();
        for (found, expected) in netlink.iter().zip([family, protocol]) {
            assert_eq!(*found, serde_json::from_str::<Value>(expected).unwrap());
        }
        assert!(of("keyctl").is_empty());
        let refused = profile["syscalls"].as_array().unwrap().last().unwrap();
        assert!(refused["names"].as_array().unwrap().contains(&json!("keyctl")));
        assert_eq!((&refused["action"], &refused["errnoRet"]), (&json!("SCMP_ACT_ERRNO"), &json!(38)));
    }
}

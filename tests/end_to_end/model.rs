//! Models: fetched from a hub on this machine, which speaks as Hugging Face's does.

use crate::{
    project::{Project, text},
    server::{Answer, Request, Server},
};
use std::process::{Command, Output};
use store::Digest;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TOKEN: &str = "hf_secretsecretsecret";

/// A Llama of one layer, small but for its vocabulary: the weights have some megabytes.
pub fn checkpoint() -> Vec<(String, Vec<u8>)> {
    const HIDDEN: usize = 64;
    const VOCABULARY: usize = 16_000;
    let config = serde_json::json!({
        "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": 96, "num_hidden_layers": 1,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": VOCABULARY, "tie_word_embeddings": true,
        "rms_norm_eps": 1e-6, "max_position_embeddings": 128
    });
    let layer = |name: &str, shape: &[usize]| (format!("model.layers.0.{name}.weight"), shape.to_vec());
    let tensors = [
        ("model.embed_tokens.weight".to_owned(), vec![VOCABULARY, HIDDEN]),
        layer("self_attn.q_proj", &[64, HIDDEN]),
        layer("self_attn.k_proj", &[32, HIDDEN]),
        layer("self_attn.v_proj", &[32, HIDDEN]),
        layer("self_attn.o_proj", &[HIDDEN, 64]),
        layer("mlp.gate_proj", &[96, HIDDEN]),
        layer("mlp.up_proj", &[96, HIDDEN]),
        layer("mlp.down_proj", &[HIDDEN, 96]),
        layer("input_layernorm", &[HIDDEN]),
        layer("post_attention_layernorm", &[HIDDEN]),
        ("model.norm.weight".to_owned(), vec![HIDDEN]),
    ];
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape) in tensors {
        let start = data.len();
        for index in 0..shape.iter().product::<usize>() {
            let value = (index.wrapping_mul(2_654_435_761) % 1000) as f32 / 1000.0 - 0.5;
            data.extend_from_slice(&((value.to_bits() >> 16) as u16).to_le_bytes());
        }
        let offsets = [start, data.len()];
        header.insert(name, serde_json::json!({"dtype": "BF16", "shape": shape, "data_offsets": offsets}));
    }
    let header = serde_json::to_vec(&header).unwrap();
    let weights = [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat();
    let tokenizer = r#"{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}}, "added_tokens": []}"#;
    vec![
        ("LICENSE".to_owned(), b"Do as you like.\n".to_vec()),
        ("README.md".to_owned(), b"Not needed.\n".to_vec()),
        ("config.json".to_owned(), config.to_string().into_bytes()),
        ("model.safetensors".to_owned(), weights),
        ("tokenizer.json".to_owned(), tokenizer.as_bytes().to_vec()),
    ]
}

/// Where a hub says what its large files are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// In the description of a revision, as Hugging Face's.
    Listed,
    /// In the headers of a file alone.
    Linked,
    /// Nowhere.
    Nothing,
}

/// A hub that gives its files to those with the token, and the place, on another port, where it keeps the large ones.
pub struct Hub {
    pub server: Server,
    pub storage: Server,
}

impl Hub {
    /// With a model `owner/tiny` of these files; the first answer of the storage breaks off.
    pub fn start(files: Vec<(String, Vec<u8>)>, license: &str) -> Self {
        Self::saying(Says::Listed, files, license)
    }

    pub fn saying(says: Says, files: Vec<(String, Vec<u8>)>, license: &str) -> Self {
        let large = files.iter().find(|(name, _)| name.ends_with(".safetensors")).unwrap().1.clone();
        let (sha256, size) = (Digest::of(&large).hex(), large.len());
        let storage = Server::answering(move |turn, _| match turn {
            0 => Answer::Cut(large.clone(), 700_000),
            _ => Answer::File(large.clone()),
        });
        let siblings: Vec<_> = files
            .iter()
            .map(|(name, content)| match name.ends_with(".safetensors") && says == Says::Listed {
                true => serde_json::json!({
                    "rfilename": name, "size": content.len(),
                    "lfs": { "sha256": Digest::of(content).hex(), "size": content.len(), "pointerSize": 134 }
                }),
                false => serde_json::json!({ "rfilename": name, "size": content.len() }),
            })
            .collect();
        let description = serde_json::json!({
            "id": "owner/tiny", "sha": COMMIT, "siblings": siblings, "cardData": { "license": license }
        });
        let kept = storage.url("/blob?signature=x");
        let server = Server::answering(move |_, request: &Request| {
            if request.authorization.as_deref() != Some(&format!("Bearer {TOKEN}")) {
                return Answer::Status(401);
            }
            let path = request.path.as_str();
            if ["main", COMMIT]
                .iter()
                .any(|name| path == format!("/api/models/owner/tiny/revision/{name}?blobs=true"))
            {
                return Answer::File(description.to_string().into_bytes());
            }
            // Small files are a redirection away on the same server.
            if let Some(name) = path.strip_prefix("/cache/") {
                let file = files.iter().find(|(known, _)| known == name);
                return file.map_or(Answer::Status(404), |(_, content)| Answer::File(content.clone()));
            }
            match path.strip_prefix(&format!("/owner/tiny/resolve/{COMMIT}/")) {
                Some("model.safetensors") if says == Says::Linked => {
                    Answer::Linked(kept.clone(), sha256.clone(), size)
                }
                Some("model.safetensors") => Answer::Redirect(kept.clone()),
                Some(name) => Answer::Redirect(format!("/cache/{name}")),
                None => Answer::Status(404),
            }
        });
        Self { server, storage }
    }

    /// A command that is configured with this hub.
    pub fn command(&self, project: &Project, store: &std::path::Path, arguments: &[&str]) -> Command {
        let mut command = project.command(store, arguments);
        command
            .env("HF_ENDPOINT", self.server.url("/"))
            .env("HF_TOKEN", TOKEN)
            .env("NO_PROXY", "127.0.0.1")
            .env_remove("HUGGING_FACE_HUB_TOKEN");
        command
    }

    pub fn run(&self, project: &Project, store: &std::path::Path, arguments: &[&str]) -> Output {
        self.command(project, store, arguments).output().unwrap()
    }

    /// The same of what has to succeed: what it prints.
    pub fn succeed(&self, project: &Project, store: &std::path::Path, arguments: &[&str]) -> String {
        let output = self.run(project, store, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        text(&output)
    }
}

#[test]
fn a_model_is_locked_fetched_and_laid_out_and_the_token_stays_with_its_hub() {
    let (project, store) = (Project::new(), tempfile::tempdir().unwrap());
    let hub = Hub::start(checkpoint(), "apache-2.0");
    let fetch = ["model", "fetch", "owner/tiny@main", "-o", "checkpoint"];
    let output = hub.command(&project, store.path(), &fetch).env("MLC_REPRO_LOG", "trace").output().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("license: apache-2.0") && !said.contains("has the license"), "{said}");
    assert!(!said.contains("secretsecret"), "the token is shown: {said}");

    // The large file broke off and went on, at the other server, which never saw the token.
    let ranges: Vec<_> = hub.storage.requests().into_iter().map(|request| request.range).collect();
    assert_eq!(ranges, [None, Some("bytes=700000-".to_owned())]);
    assert!(hub.storage.requests().iter().all(|request| request.authorization.is_none()));

    let root = project.directory.path();
    let lock = std::fs::read_to_string(root.join("models/tiny.lock")).unwrap();
    for (name, content) in checkpoint() {
        let path = root.join("checkpoint").join(&name);
        if name == "README.md" {
            assert!(!path.exists() && !lock.contains(&name));
            continue;
        }
        assert!(std::fs::read(&path).unwrap() == content, "{name}");
        let entry = format!(
            "[[input]]\nname = \"tiny/{name}\"\nkind = \"hugging-face\"\nrepository = \"owner/tiny\"\nrevision = \
             \"{COMMIT}\"\nfile = \"{name}\"\nsize = {}\nsha256 = \"{}\"\n",
            content.len(),
            Digest::of(&content).hex()
        );
        assert!(lock.contains(&entry), "{entry} is not in {lock}");
    }
    assert!(
        std::fs::read_to_string(root.join("models/tiny.toml")).unwrap().contains("license = \"apache-2.0\"")
    );

    // What is locked and there needs no hub, and the lock answers what is asked for.
    let before = hub.server.requests().len();
    for arguments in [&["model", "fetch", "tiny", "--offline"][..], &["lock", "check"]] {
        hub.succeed(&project, store.path(), arguments);
    }
    assert_eq!(hub.server.requests().len(), before);

    // Another store fetches it by the lock alone.
    let other = tempfile::tempdir().unwrap();
    hub.succeed(&project, other.path(), &["model", "fetch", "tiny"]);
    assert!(!hub.server.requests()[before..].iter().any(|request| request.path.starts_with("/api/")));
}

#[test]
fn a_hub_that_lists_no_digests_locks_the_same() {
    let mut locks = Vec::new();
    for says in [Says::Listed, Says::Linked, Says::Nothing] {
        let (project, store) = (Project::new(), tempfile::tempdir().unwrap());
        let hub = Hub::saying(says, checkpoint(), "mit");
        hub.succeed(&project, store.path(), &["model", "fetch", "owner/tiny@main", "-o", "checkpoint"]);
        locks.push(std::fs::read_to_string(project.directory.path().join("models/tiny.lock")).unwrap());
        let laid_out = std::fs::read(project.directory.path().join("checkpoint/model.safetensors")).unwrap();
        assert!(laid_out == checkpoint()[3].1);
        // The weights come once, to be hashed or because they are locked, and go on where they broke off.
        let ranges: Vec<_> = hub.storage.requests().into_iter().map(|request| request.range).collect();
        assert_eq!(ranges, [None, Some("bytes=700000-".to_owned())]);
        let asked = hub.server.requests().into_iter().filter(|request| request.method == "HEAD").count();
        assert_eq!(asked, usize::from(says != Says::Listed));
    }
    assert!(locks.iter().all(|lock| *lock == locks[0]), "{locks:?}");
}

#[test]
fn a_hub_that_refuses_or_lies_locks_nothing() {
    let (project, store) = (Project::new(), tempfile::tempdir().unwrap());
    let hub = Hub::start(checkpoint(), "qwen-research");
    let mut command = hub.command(&project, store.path(), &["model", "fetch", "owner/tiny@main"]);
    command.env_remove("HF_TOKEN").env("HF_HOME", store.path());
    let said = text(&command.output().unwrap());
    assert!(said.contains("answered 401: it wants a token") && said.contains("set HF_TOKEN"), "{said}");

    for (model, expected) in [
        ("owner/other@main", "does not exist"),
        ("owner/tiny", "which revision of owner/tiny is meant?"),
        ("tiny", "there is no model `tiny`"),
        ("../tiny@main", "should be OWNER/NAME"),
        ("owner/tiny@ma/../in", "is not a revision"),
    ] {
        let output = hub.run(&project, store.path(), &["model", "fetch", model]);
        assert_eq!(output.status.code(), Some(1), "{model}");
        assert!(text(&output).contains(expected), "{expected}: {}", text(&output));
    }
    let plain = ["model", "fetch", "owner/tiny@main", "--endpoint", "http://hub.invalid"];
    let said = text(&hub.run(&project, store.path(), &plain));
    assert!(said.contains("neither https:// nor this machine"), "{said}");
    assert!(!project.directory.path().join("models").exists());

    // The license is told before anybody publishes anything.
    let said = text(&hub.run(&project, store.path(), &["model", "fetch", "owner/tiny@main"]));
    assert!(said.contains("`tiny` has the license `qwen-research`: it is for research only"), "{said}");

    // A file that is not what was locked is not taken.
    let mut changed = checkpoint();
    changed[3].1[100_000] ^= 1;
    let liar = Hub::start(changed, "mit");
    let fresh = tempfile::tempdir().unwrap();
    let said = text(&liar.run(&project, fresh.path(), &["model", "fetch", "tiny"]));
    assert!(said.contains("not that of the lock"), "{said}");

    // Where no hub is configured, that is said once for all files.
    let mut command = hub.command(&project, fresh.path(), &["model", "fetch", "tiny"]);
    let said = text(&command.env_remove("HF_ENDPOINT").env("PATH", "/nowhere").output().unwrap());
    assert_eq!(said.matches("it is not known which hub models come from").count(), 1, "{said}");
}

#[test]
fn a_locked_model_is_converted_once_laid_out_and_checked() {
    let (project, store) = (Project::new(), tempfile::tempdir().unwrap());
    let hub = Hub::start(checkpoint(), "mit");
    let run = |arguments: &[&str]| hub.succeed(&project, store.path(), arguments);
    run(&["model", "fetch", "owner/tiny@main", "-o", "checkpoint"]);
    let convert = |source: &'static str, output: &'static str| {
        let template = ["--conversation-template", "llama-3", "--context-window-size", "64"];
        [&["model", "convert", source, "--quantization", "q4f16_1", "-o", output][..], &template].concat()
    };
    let said = run(&convert("tiny", "converted"));
    assert!(said.contains("converted is converted: llama in q4f16_1"), "{said}");
    assert!(run(&convert("tiny", "converted")).contains("converted is up to date"));
    // The directory has the same files, so it is the same action.
    assert!(run(&convert("checkpoint", "again")).contains("again is laid out from the store"));
    assert!(run(&["model", "verify", "again"]).contains("PASS"));
    let read = |name: &str| std::fs::read(project.directory.path().join(name)).unwrap();
    for name in ["params_shard_0.bin", "tensor-cache.json", "mlc-chat-config.json", "tokenizer.json"] {
        assert_eq!(read(&format!("converted/{name}")), read(&format!("again/{name}")), "{name}");
    }
    let config: serde_json::Value = serde_json::from_slice(&read("converted/mlc-chat-config.json")).unwrap();
    assert_eq!(config["context_window_size"], 64);

    // Past the store, the bytes are the same.
    let mut direct = convert("checkpoint", "direct");
    direct.push("--no-store");
    run(&direct);
    for name in ["params_shard_0.bin", "tensor-cache.json", "mlc-chat-config.json"] {
        assert_eq!(read(&format!("converted/{name}")), read(&format!("direct/{name}")), "{name}");
    }
    for (arguments, key) in [
        (&["model", "inspect", "converted", "--json"][..], "\"bits_per_parameter\""),
        (&["model", "verify", "converted", "--json"], "\"PASS\""),
        (&["model", "diff", "converted", "direct", "--json"], "[]"),
    ] {
        assert!(run(arguments).contains(key), "{arguments:?}");
    }
}

/// Options without effect, misspelt names and a bad tokenizer end a conversion before it begins.
#[test]
fn a_wrong_conversion_is_told_before_the_work() {
    let (project, store) = (Project::new(), tempfile::tempdir().unwrap());
    for (name, content) in checkpoint() {
        project.write(&format!("checkpoint/{name}"), ""); // Its directory is made.
        std::fs::write(project.directory.path().join("checkpoint").join(name), content).unwrap();
    }
    let run = |arguments: &[&str]| {
        let convert = ["model", "convert", "checkpoint", "-o", "out"];
        project.command(store.path(), &[&convert[..], arguments].concat()).output().unwrap()
    };
    for (arguments, status, expected) in [
        (&[][..], 1, "one of q0f16, q0bf16, q0f32, q3f16_0"),
        (&["--quantization", "q4f16-1"], 1, "did you mean `q4f16_1`?"),
        (&["--quantization", "q4f16_1", "--context-window-size", "64"], 2, "--conversation-template"),
        (&["--quantization", "q4f16_1", "--conversation-template", "lama-3"], 1, "did you mean `llama-3`?"),
        (&["--quantization", "q4f16_1", "--architecture", "lama"], 1, "did you mean `llama`?"),
        (
            &["--quantization", "q4f16_1", "--conversation-template", "LM", "--sliding-window-size", "8"],
            1,
            "llama has no `sliding_window_size`",
        ),
    ] {
        for store in [&[][..], &["--no-store"]] {
            let output = run(&[arguments, store].concat());
            let said = text(&output);
            assert_eq!(output.status.code(), Some(status), "{said}");
            assert!(said.contains(expected), "{expected}: {said}");
            assert!(!project.directory.path().join("out").exists());
        }
    }
    // What it cost, and what comes next.
    let said = text(&run(&["--quantization", "q4f16_1", "--no-store"]));
    assert!(said.contains("2 MB to 593.7 kB in 1 shard, 4.502 bits per parameter, "), "{said}");
    assert!(said.contains("next: cargo xtask model chat-config checkpoint"), "{said}");
}

/// A model as others publish it, straight from a hub, with names that would command a terminal.
#[test]
fn a_published_model_is_checked_from_its_hub() {
    let (project, store) = (Project::new(), tempfile::tempdir().unwrap());
    let name = "w\u{1b}]0;title\u{7}\n\u{202e}x";
    let index = serde_json::json!({ "metadata": {}, "records": [{
        "dataPath": "params_shard_0.bin", "format": "raw-shard", "nbytes": 8, "md5sum": "7dea362b3fac8e00956a4952a3d4f474",
        "records": [{ "name": name, "shape": [4], "dtype": "float16", "format": "raw", "nbytes": 8, "byteOffset": 0 }]
    }]});
    let files = [("ndarray-cache.json", index.to_string().into_bytes()), ("params_shard_0.bin", vec![0; 8])];
    let listed: Vec<_> = files
        .iter()
        .map(|(name, content)| {
            let large = serde_json::json!({ "sha256": Digest::of(content).hex(), "size": content.len() });
            let is_large = name.ends_with(".bin").then_some(large);
            serde_json::json!({ "rfilename": name, "size": content.len(), "lfs": is_large })
        })
        .collect();
    let description =
        serde_json::json!({ "id": "owner/model", "sha": COMMIT, "siblings": listed }).to_string();
    let server = Server::answering(move |_, request: &Request| {
        let path = request.path.as_str();
        if path == "/api/models/owner/model/revision/main?blobs=true" {
            return Answer::File(description.clone().into_bytes());
        }
        let file = files.iter().find(|(name, _)| path == format!("/owner/model/resolve/{COMMIT}/{name}"));
        file.map_or(Answer::Status(404), |(_, content)| Answer::File(content.clone()))
    });
    let run = |arguments: &[&str]| {
        let mut command = project.command(store.path(), &[&["model"][..], arguments].concat());
        command.env("HF_ENDPOINT", server.url("/")).env("NO_PROXY", "127.0.0.1").env_remove("HF_TOKEN");
        text(&command.output().unwrap())
    };
    let said = run(&["inspect", "owner/model@main"]);
    assert!(said.contains("w\\u001b]0;title\\u0007\\n\\u202ex") && said.contains("1 tensors"), "{said}");
    assert!(!server.requests().iter().any(|request| request.path.ends_with(".bin")));
    assert!(run(&["verify", "owner/model@main"]).contains("PASS"));
    let said = run(&["inspect", "owner/model@main", "--json"]);
    assert!(said.contains("\\u202e") && !said.contains('\u{202e}'), "{said}");
    for (model, expected) in [
        ("owner/model", "give a directory, or a model of a hub as OWNER/NAME@REVISION"),
        ("owner/other@main", "does not exist"),
        ("owner/model@ma/in", "is not a revision"),
    ] {
        let said = run(&["verify", model]);
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(!project.directory.path().join("models").exists());
}

#[test]
fn a_model_is_part_of_a_release_that_is_verified_and_rebuilt() {
    let (project, store) = (Project::new(), tempfile::tempdir().unwrap());
    let hub = Hub::start(checkpoint(), "qwen-research");
    let run = |arguments: &[&str]| hub.run(&project, store.path(), arguments);
    assert!(run(&["model", "fetch", "owner/tiny@main"]).status.success());
    project.write(
        "releases/models.toml",
        "name = \"models\"\n[[model]]\nname = \"tiny\"\nquantization = \"q4f16_1\"\n\
         conversation_template = \"llama-3\"\nsizes = { context_window_size = 64 }\n\
         [[model]]\nname = \"tiny\"\nquantization = \"q4f16_0\"\n",
    );
    let said = text(&run(&["release", "models"]));
    assert!(said.contains("models is written") && said.contains("built tiny-q4f16_1"), "{said}");
    assert!(said.contains("it is for research only"), "{said}");
    let said = text(&run(&["release", "models"]));
    assert!(said.contains("is up to date") && said.contains("cached tiny-q4f16_0"), "{said}");

    let release = project.directory.path().join("dist/models");
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(release.join("release.json")).unwrap()).unwrap();
    let model = &manifest["models"][0];
    assert_eq!(model["license"], "qwen-research");
    let inputs = ["tiny/LICENSE", "tiny/config.json", "tiny/model.safetensors", "tiny/tokenizer.json"];
    assert_eq!(model["inputs"], serde_json::json!(inputs));
    assert_eq!(manifest["inputs"]["tiny/config.json"]["source"]["revision"], COMMIT);
    let shard = std::fs::read(release.join("tiny-q4f16_1/params_shard_0.bin")).unwrap();
    let listed = model["files"].as_array().unwrap();
    assert!(listed.iter().any(|file| file["sha256"] == Digest::of(&shard).hex()));
    assert!(release.join("licenses/tiny-q4f16_1/LICENSE").is_file());
    assert!(!release.join("tiny-q4f16_0/mlc-chat-config.json").exists());

    for arguments in [&["verify", "dist/models"][..], &["verify", "--rebuild", "dist/models"]] {
        let output = run(arguments);
        assert!(output.status.success() && text(&output).contains("PASS"), "{}", text(&output));
    }
    let mut damaged = shard.clone();
    damaged[1000] ^= 1;
    std::fs::write(release.join("tiny-q4f16_1/params_shard_0.bin"), damaged).unwrap();
    let said = text(&run(&["verify", "dist/models"]));
    assert!(said.contains("tiny-q4f16_1/params_shard_0.bin: changed: its sha256 is"), "{said}");
    assert!(text(&run(&["release", "models"])).contains("is written"));

    // A manifest that says something else than the repository does not pass.
    let lock = std::fs::read_to_string(project.directory.path().join("models/tiny.toml")).unwrap();
    project.write("models/tiny.toml", &lock.replace("qwen-research", "mit"));
    let said = text(&run(&["verify", "dist/models"]));
    assert!(said.contains("has the license `qwen-research`, and `mit` in models/tiny.toml"), "{said}");
}

#[test]
fn a_partial_release_with_other_files_at_hand_is_rebuilt_to_the_same_bytes() {
    let (project, store) = (Project::new(), tempfile::tempdir().unwrap());
    let hub = Hub::start(checkpoint(), "mit");
    let run = |arguments: &[&str]| hub.run(&project, store.path(), arguments);
    assert!(run(&["model", "fetch", "owner/tiny@main"]).status.success());
    // Another model, of the same files but for one that the hub does not have.
    let read = |path: &str| std::fs::read_to_string(project.directory.path().join(path)).unwrap();
    let license = Digest::of(&checkpoint()[0].1).hex();
    let lock = read("models/tiny.lock").replace("tiny/", "lost/").replace("owner/tiny", "owner/lost");
    let mine = "Do what I like.\n";
    project.write("models/lost.lock", &lock.replace(&license, &Digest::of(mine.as_bytes()).hex()));
    project.write("models/lost.toml", &read("models/tiny.toml").replace("owner/tiny", "owner/lost"));
    let model = |name: &str| format!("[[model]]\nname = \"{name}\"\nquantization = \"q4f16_1\"\n");
    let release =
        |models: &str| project.write("releases/models.toml", &format!("name = \"models\"\n{models}"));

    release(&(model("lost") + &model("tiny")));
    let stopped = run(&["release", "models"]);
    let said = text(&stopped);
    assert_eq!(stopped.status.code(), Some(1), "{said}");
    assert!(said.contains("lost-q4f16_1 waits for lost/LICENSE") && !said.contains("built"), "{said}");
    let said = text(&run(&["release", "models", "--keep-going"]));
    assert!(said.contains("lost-q4f16_1 waits for lost/LICENSE"), "{said}");
    assert!(said.contains("built tiny-q4f16_1") && said.contains("--partial"), "{said}");
    assert!(!project.directory.path().join("dist/models").exists());

    let output = run(&["release", "models", "--partial"]);
    assert!(output.status.success(), "{}", text(&output));
    let manifest: serde_json::Value = serde_json::from_str(&read("dist/models/release.json")).unwrap();
    let missing = serde_json::json!([{ "model": "lost-q4f16_1", "waits_for": ["lost/LICENSE"] }]);
    assert_eq!(manifest["missing"], missing);
    assert_eq!(manifest["models"].as_array().unwrap().len(), 1);
    // Of the lost model, the rebuild has no file at all.
    let verdict = run(&["verify", "--rebuild", "dist/models"]);
    assert!(verdict.status.success(), "{}", text(&verdict));

    release(&model("tiny"));
    let said = text(&run(&["verify", "dist/models"]));
    assert!(said.contains("says that lost-q4f16_1 is missing, which nobody asks for"), "{said}");
    release(&model("lost"));
    let said = text(&run(&["release", "models", "--partial"]));
    assert!(said.contains("every artifact and model of the release waits for an input"), "{said}");

    // A copy of one's own does as well as the hub, when it is what is locked.
    let given = ["release", "models", "--input", "lost=mine"];
    for (file, content, expected) in [
        ("mine/other", mine, "mine holds no file of owner/lost at"),
        ("mine/LICENSE", "Do what we like.", "mine/LICENSE is not the file of owner/lost at"),
        ("mine/LICENSE", mine, "models is written"),
    ] {
        project.write(file, content);
        let said = text(&run(&given));
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let verdict = run(&["verify", "--rebuild", "dist/models"]);
    assert!(verdict.status.success() && !text(&verdict).contains("partial"), "{}", text(&verdict));
}

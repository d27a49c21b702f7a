//! What Microsoft's servers would give, in small: a manifest, VSIX packages, installer databases and cabinets in their own formats,
//! with texts of ours in them.

use crate::server::{Answer, Server};
use input::{MicrosoftSdk, Payload};
use msi::{Column, Insert, Package, PackageType, Value};
use serde_json::{Value as Json, json};
use std::{
    collections::BTreeMap,
    io::{Cursor, Write},
    sync::{Arc, Mutex},
};
use store::Digest;

pub const CRT: &str = "14.43.17.13";
pub const SDK: &str = "10.0.22621";

/// Where the Windows SDK's installers have their headers and libraries.
const INCLUDE: &str = "Include/10.0.22621.0";
const LIB: &str = "Lib/10.0.22621.0";

/// A database and its cabinet.
pub type Installer = (Vec<u8>, Vec<u8>);

/// The installer of most headers.
pub const HEADERS: &str = "Windows SDK Desktop Headers x86-x86_en-us.msi";

/// The files of a server, by path, and how it answers for some of them.
pub struct Studio {
    pub files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    pub answers: Arc<Mutex<BTreeMap<String, Vec<Answer>>>>,
    pub server: Server,
    packages: Vec<Json>,
}

impl Studio {
    pub fn start() -> Self {
        let files = Arc::new(Mutex::new(BTreeMap::<String, Vec<u8>>::new()));
        let answers = Arc::new(Mutex::new(BTreeMap::<String, Vec<Answer>>::new()));
        let server = Server::answering({
            let (files, answers) = (files.clone(), answers.clone());
            move |_, request| {
                if let Some(answers) = answers.lock().unwrap().get_mut(&request.path)
                    && !answers.is_empty()
                {
                    return answers.remove(0);
                }
                files.lock().unwrap().get(&request.path).cloned().map_or(Answer::Status(404), Answer::File)
            }
        });
        let mut studio = Self { files, answers, server, packages: Vec::new() };
        studio.packages.push(json!({
            "id": "Microsoft.VisualStudio.Product.BuildTools", "version": "17.14", "type": "Product",
            "dependencies": {(format!("Microsoft.VisualStudio.Component.VC.{CRT}.x86.x64")): ""},
        }));
        studio
            .crt("Headers", &vsix(&[("include/vcruntime.h", "#pragma once\n"), ("include/new", "// new\n")]));
        studio
            .crt("x64.Desktop", &vsix(&[("lib/x64/msvcrt.lib", "msvcrt"), ("lib/x64/vcruntime.lib", "vcr")]));
        studio.crt("x64.Store", &vsix(&[("lib/x64/store/msvcrt.lib", "store")]));
        let installers = [
            (
                HEADERS,
                installer(&[
                    (&format!("{INCLUDE}/um"), "Windows.h", "#include <WinDef.h>\n"),
                    (&format!("{INCLUDE}/um/gl"), "GL.h", "// gl\n"),
                    (&format!("{INCLUDE}/shared"), "windef.h", "typedef int BOOL;\n"),
                    ("Catalogs", "sdk.cat", "signed"),
                ]),
            ),
            (
                "Windows SDK for Windows Store Apps Headers-x86_en-us.msi",
                installer(&[(&format!("{INCLUDE}/um"), "winbase.h", "// winbase\n")]),
            ),
            (
                "Windows SDK Desktop Headers x64-x86_en-us.msi",
                installer(&[(&format!("{INCLUDE}/um"), "only64.h", "// x64\n")]),
            ),
            (
                "Windows SDK Desktop Libs x64-x86_en-us.msi",
                installer(&[(&format!("{LIB}/um/x64"), "User32.Lib", "user32")]),
            ),
            (
                "Windows SDK for Windows Store Apps Libs-x86_en-us.msi",
                installer(&[(&format!("{LIB}/um/x64"), "kernel32.Lib", "kernel32")]),
            ),
        ];
        studio.kit(&format!("Win11SDK_{SDK}"), "Installers\\", &installers);
        let ucrt = installer(&[
            (&format!("{INCLUDE}/ucrt"), "stdio.h", "int puts(const char*);\n"),
            (&format!("{LIB}/ucrt/x64"), "ucrt.lib", "ucrt"),
        ]);
        studio.kit(
            "Microsoft.Windows.UniversalCRT.HeadersLibsSources.Msi",
            "",
            &[("Universal CRT Headers Libraries and Sources-x86_en-us.msi", ucrt)],
        );
        studio
    }

    /// Puts a file on the server, and gives what a manifest says of it.
    fn payload(&self, name: &str, path: &str, content: &[u8]) -> Json {
        self.files.lock().unwrap().insert(path.to_owned(), content.to_owned());
        let digest = Digest::of(content);
        // Microsoft writes capitals.
        json!({"fileName": name, "sha256": digest.hex().to_uppercase(), "size": digest.size, "url": self.server.url(path)})
    }

    fn crt(&mut self, part: &str, content: &[u8]) {
        let id = format!("Microsoft.VC.{CRT}.CRT.{part}.base");
        let payload = self.payload(&format!("{id}.vsix"), &format!("/{id}.vsix"), content);
        self.packages.push(json!({"id": id, "version": CRT, "type": "Vsix", "payloads": [payload]}));
    }

    /// Installers and their cabinets; `prefix` is what the manifest puts before their names.
    fn kit(&mut self, id: &str, prefix: &str, installers: &[(&str, Installer)]) {
        let mut payloads = Vec::new();
        for (index, (name, (msi, cabinet))) in installers.iter().enumerate() {
            payloads.push(self.payload(&format!("{prefix}{name}"), &format!("/{id}/{index}.msi"), msi));
            let cabinet_name = cabinet_name(msi);
            payloads.push(self.payload(
                &format!("{prefix}{cabinet_name}"),
                &format!("/{id}/{index}.cab"),
                cabinet,
            ));
        }
        self.packages.push(json!({"id": id, "version": SDK, "type": "Msi", "payloads": payloads}));
    }

    /// Replaces the installer of the SDK's headers; its cabinet stands in the manifest under this name.
    pub fn replace_headers(&mut self, msi: &[u8], cabinet_name: &str, cabinet: &[u8]) {
        let msi = self.payload(&format!("Installers\\{HEADERS}"), "/other.msi", msi);
        let cabinet = self.payload(&format!("Installers\\{cabinet_name}"), "/other.cab", cabinet);
        let id = format!("Win11SDK_{SDK}");
        let package = self.packages.iter_mut().find(|package| package["id"] == id.as_str()).unwrap();
        let payloads = package["payloads"].as_array_mut().unwrap();
        payloads.retain(|payload| !payload["fileName"].as_str().unwrap().ends_with(HEADERS));
        payloads.extend([msi, cabinet]);
    }

    /// Replaces the headers of the C runtime, in the manifest too.
    pub fn replace_crt_headers(&mut self, content: &[u8]) {
        self.packages.retain(|package| package["id"] != format!("Microsoft.VC.{CRT}.CRT.Headers.base"));
        self.crt("Headers", content);
    }

    /// What to ask for, with the manifest as it is now.
    pub fn release(&self) -> MicrosoftSdk {
        let manifest = json!({"manifestVersion": "1.1", "packages": self.packages}).to_string();
        let digest = Digest::of(manifest.as_bytes());
        self.files.lock().unwrap().insert("/VisualStudio.vsman".to_owned(), manifest.into_bytes());
        MicrosoftSdk {
            crt: CRT.to_owned(),
            sdk: SDK.to_owned(),
            license: "https://license.invalid/".to_owned(),
            manifest: Payload {
                file: "VisualStudio.vsman".to_owned(),
                url: self.server.url("/VisualStudio.vsman"),
                size: digest.size,
                sha256: digest.hex(),
            },
        }
    }
}

/// A VSIX package: a zip file, with what is installed below `Contents/`.
pub fn vsix(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("extension.vsixmanifest", options).unwrap();
    for (path, text) in files {
        zip.start_file(format!("Contents/VC/Tools/MSVC/14.43.34808/{path}"), options).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// An installer database and its cabinet, with files in directories: the directory, the name, the text.
pub fn installer(files: &[(&str, &str, &str)]) -> Installer {
    let mut folder = cab::CabinetBuilder::new();
    let entries = folder.add_folder(cab::CompressionType::MsZip);
    for index in 0..files.len() {
        entries.add_file(format!("fil{index}"));
    }
    let mut writer = folder.build(Cursor::new(Vec::new())).unwrap();
    for (_, _, text) in files {
        writer.next_file().unwrap().unwrap().write_all(text.as_bytes()).unwrap();
    }
    let cabinet = writer.finish().unwrap().into_inner();
    (database(files, &format!("{}.cab", &Digest::of(&cabinet).hex()[..32])), cabinet)
}

/// An installer database for files in a cabinet of this name.
pub fn database(files: &[(&str, &str, &str)], cabinet: &str) -> Vec<u8> {
    let mut package = Package::create(PackageType::Installer, Cursor::new(Vec::new())).unwrap();
    let key = |name: &str| Column::build(name).primary_key().id_string(72);
    let text = |name: &str| Column::build(name).nullable().string(255);
    let mut table = |name: &str, columns: Vec<Column>, rows: Vec<Vec<Value>>| {
        package.create_table(name, columns).unwrap();
        package.insert_rows(Insert::into(name).rows(rows)).unwrap();
    };
    let mut directories = BTreeMap::from([("TARGETDIR".to_owned(), (Value::Null, "SourceDir".to_owned()))]);
    for (path, _, _) in files {
        let mut parent = "TARGETDIR".to_owned();
        for part in path.split('/') {
            let id = format!("{parent}_{part}").replace('.', "_");
            let name = if part.len() > 8 { format!("SHORT~1|{part}") } else { part.to_owned() };
            directories.insert(id.clone(), (Value::from(parent.as_str()), name));
            parent = id;
        }
    }
    let of = |path: &str| {
        path.split('/')
            .fold("TARGETDIR".to_owned(), |parent, part| format!("{parent}_{part}").replace('.', "_"))
    };
    table(
        "Directory",
        vec![key("Directory"), text("Directory_Parent"), text("DefaultDir")],
        directories
            .into_iter()
            .map(|(id, (parent, name))| vec![Value::from(id.as_str()), parent, Value::from(name.as_str())])
            .collect(),
    );
    table(
        "Component",
        vec![key("Component"), text("ComponentId"), text("Directory_")],
        files
            .iter()
            .enumerate()
            .map(|(index, (path, _, _))| {
                vec![Value::from(format!("cmp{index}").as_str()), Value::Null, Value::from(of(path).as_str())]
            })
            .collect(),
    );
    table(
        "File",
        vec![
            key("File"),
            text("Component_"),
            text("FileName"),
            Column::build("FileSize").int32(),
            text("Version"),
            text("Language"),
            Column::build("Attributes").nullable().int16(),
            Column::build("Sequence").int32(),
        ],
        files
            .iter()
            .enumerate()
            .map(|(index, (_, name, content))| {
                vec![
                    Value::from(format!("fil{index}").as_str()),
                    Value::from(format!("cmp{index}").as_str()),
                    Value::from(format!("ABC~1.H|{name}").as_str()),
                    Value::Int(i32::try_from(content.len()).unwrap()),
                    Value::Null,
                    Value::Null,
                    Value::Null,
                    Value::Int(i32::try_from(index).unwrap() + 1),
                ]
            })
            .collect(),
    );
    table(
        "Media",
        vec![
            Column::build("DiskId").primary_key().int16(),
            Column::build("LastSequence").int32(),
            text("DiskPrompt"),
            text("Cabinet"),
            text("VolumeLabel"),
            text("Source"),
        ],
        vec![vec![
            Value::Int(1),
            Value::Int(i32::try_from(files.len()).unwrap()),
            Value::Null,
            Value::from(cabinet),
            Value::Null,
            Value::Null,
        ]],
    );
    package.into_inner().unwrap().into_inner()
}

/// The cabinet that a database names.
pub fn cabinet_name(database: &[u8]) -> String {
    let mut package = Package::open(Cursor::new(database)).unwrap();
    let row = package.select_rows(msi::Select::table("Media")).unwrap().next().unwrap();
    row["Cabinet"].as_str().unwrap().to_owned()
}

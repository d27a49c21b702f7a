//! What can be wrong between a client and a server with TLS, each said in one sentence.

use crate::stub::{Lie, start};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use remote::{Connection, Failure, Identity, Options, Reason};
use tonic::transport::{Certificate, ServerTlsConfig};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate with its key, as PEM.
fn issue(authority: &Authority, name: &str) -> Identity {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    Identity { certificate: certificate.pem().into_bytes(), key: key.serialize_pem().into_bytes() }
}

#[test]
fn each_mistake_has_its_sentence() {
    let (ours, other) = (authority("ours"), authority("other"));
    let Identity { certificate, key } = issue(&ours, "localhost");
    let tls = ServerTlsConfig::new().identity(tonic::transport::Identity::from_pem(&certificate, &key));
    let mutual = tls.clone().client_ca_root(Certificate::from_pem(ours.pem()));
    let (open, guarded) = (start(Lie::None, 0, Some(tls)), start(Lie::None, 0, Some(mutual)));
    let (plain, denying) = (start(Lie::None, 0, None), start(Lie::Denies, 0, None));
    let known = |options: &Options| Options { authorities: Some(ours.pem().into_bytes()), ..options.clone() };
    let with = |identity| Options { identity: Some(identity), ..known(&guarded.options) };
    let at = |url: String, options: &Options| Options { url, ..options.clone() };

    Connection::open(&known(&open.options)).unwrap();
    Connection::open(&with(issue(&ours, "client"))).unwrap();
    let mine = with(issue(&ours, "client"));
    assert!(Connection::open(&mine).unwrap().missing(&[]).unwrap().is_empty());

    let stranger = Options { authorities: Some(other.pem().into_bytes()), ..open.options.clone() };
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (what, options, says, reason) in [
        ("another authority", stranger, "an unknown authority", Reason::Configuration),
        ("the system's", open.options.clone(), "an unknown authority", Reason::Configuration),
        // The server may hang up before its alert is read.
        ("no certificate", known(&guarded.options), "client certificate", Reason::Configuration),
        (
            "a stranger's certificate",
            with(issue(&other, "client")),
            "client certificate",
            Reason::Configuration,
        ),
        (
            "plain text to TLS",
            at(open.options.url.replace("grpcs", "grpc"), &open.options),
            "servers with TLS are asked by grpcs://",
            Reason::Configuration,
        ),
        (
            "TLS to plain text",
            at(plain.options.url.replace("grpc", "grpcs"), &known(&plain.options)),
            "does not speak TLS",
            Reason::Configuration,
        ),
        (
            "another name",
            at(open.options.url.replace("localhost", "127.0.0.1"), &known(&open.options)),
            "a certificate for another name",
            Reason::Configuration,
        ),
        (
            "nobody",
            at(format!("grpc://{unused}"), &plain.options),
            "the connection was refused",
            Reason::Unreachable,
        ),
        (
            "no socket",
            at("unix:/nonexistent/socket".into(), &plain.options),
            "there is no such socket",
            Reason::Unreachable,
        ),
        (
            "no name",
            at("grpc://host.invalid:1".into(), &plain.options),
            "its name is not known",
            Reason::Unreachable,
        ),
    ] {
        let Err(error) = Connection::open(&options) else { panic!("{what} is accepted") };
        let text = format!("{error:#}");
        assert!(text.contains(says), "{what}: {text}");
        assert!(text.contains(&options.url), "{what}: {text}");
        let failure = store::find::<Failure>(&error).unwrap();
        assert_eq!(failure.reason, reason, "{what}");
        assert!(!text.contains('\n'), "{what}: {text}");
    }
    let error = Connection::open(&denying.options).unwrap().missing(&[store::Digest::of(b"x")]).unwrap_err();
    let failure = store::find::<Failure>(&error).unwrap();
    assert_eq!(failure.reason, Reason::Configuration, "{error:#}");
}

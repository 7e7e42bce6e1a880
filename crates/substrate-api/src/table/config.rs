//! Namespaces, ConfigMaps, Secrets, ServiceAccounts, PersistentVolumeClaims.

use serde_json::Value;

use super::duration::age;
use super::text::{at, count_of, list, name};
use super::{Printer, text, wide};

pub(super) const NAMESPACES: Printer = Printer {
    columns: &[text("Name"), text("Status"), text("Age")],
    cells: |object, now| vec![name(object), at(object, "/status/phase").into(), age(object, now)],
};

pub(super) const CONFIG_MAPS: Printer = Printer {
    columns: &[text("Name"), text("Data"), text("Age")],
    cells: |object, now| {
        let entries = count_of(object, "/data") + count_of(object, "/binaryData");
        vec![name(object), entries.into(), age(object, now)]
    },
};

pub(super) const SECRETS: Printer = Printer {
    columns: &[text("Name"), text("Type"), text("Data"), text("Age")],
    cells: |object, now| {
        vec![name(object), at(object, "/type").into(), count_of(object, "/data").into(), age(object, now)]
    },
};

pub(super) const SERVICE_ACCOUNTS: Printer = Printer {
    columns: &[text("Name"), text("Secrets"), text("Age")],
    cells: |object, now| vec![name(object), list(object, "/secrets").len().into(), age(object, now)],
};

pub(super) const PERSISTENT_VOLUME_CLAIMS: Printer = Printer {
    columns: &[
        text("Name"),
        text("Status"),
        text("Volume"),
        text("Capacity"),
        text("Access Modes"),
        text("StorageClass"),
        text("VolumeAttributesClass"),
        text("Age"),
        wide("VolumeMode"),
    ],
    cells: |object, now| {
        let terminating = object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null());
        let phase = if terminating { "Terminating" } else { at(object, "/status/phase") };
        let volume = at(object, "/spec/volumeName");
        let bound = !volume.is_empty();
        let attributes_class = match at(object, "/spec/volumeAttributesClassName") {
            "" => "<unset>",
            class => class,
        };
        vec![
            name(object),
            phase.into(),
            volume.into(),
            if bound { at(object, "/status/capacity/storage") } else { "" }.into(),
            if bound { access_modes(object) } else { String::new() }.into(),
            at(object, "/spec/storageClassName").into(),
            attributes_class.into(),
            age(object, now),
            match at(object, "/spec/volumeMode") {
                "" => "<unset>",
                mode => mode,
            }
            .into(),
        ]
    },
};

fn access_modes(claim: &Value) -> String {
    let short = |mode: &Value| match mode.as_str().unwrap_or_default() {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        _ => "",
    };
    list(claim, "/status/accessModes").iter().map(short).collect::<Vec<_>>().join(",")
}

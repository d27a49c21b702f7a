//! Zip archives taken apart to their bytes, so that each can be another.

/// A member: its header, and its entry in the directory.
#[derive(Clone)]
pub struct Member {
    /// The 30 bytes in front of the name.
    pub local: [u8; 30],
    /// The name in front of the data.
    pub name: Vec<u8>,
    /// The extra field in front of the data.
    pub extra: Vec<u8>,
    /// The compressed data.
    pub data: Vec<u8>,
    /// What stands between the data and the next member.
    pub gap: Vec<u8>,
    /// The 46 bytes in front of the name in the directory.
    pub central: [u8; 46],
    /// The name in the directory.
    pub central_name: Vec<u8>,
    /// The extra field in the directory.
    pub central_extra: Vec<u8>,
    /// The comment in the directory.
    pub comment: Vec<u8>,
    /// Where the directory says that it stands; nothing for where it does.
    pub offset: Option<u32>,
}

/// A zip archive.
#[derive(Clone)]
pub struct Zip {
    pub before: Vec<u8>,
    pub members: Vec<Member>,
    /// The order of the directory, by index; nothing for that of the members.
    pub directory: Option<Vec<usize>>,
    /// What stands between the directory and the end record.
    pub gap: Vec<u8>,
    /// The 22 bytes of the end record.
    pub end: [u8; 22],
    pub comment: Vec<u8>,
    pub behind: Vec<u8>,
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// Writes a number of two bytes.
pub fn put16(bytes: &mut [u8], at: usize, value: usize) {
    bytes[at..at + 2].copy_from_slice(&(value as u16).to_le_bytes());
}

/// Writes a number of four bytes.
pub fn put32(bytes: &mut [u8], at: usize, value: usize) {
    bytes[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes());
}

impl Zip {
    /// Takes an archive apart that has no comment.
    pub fn read(bytes: &[u8]) -> Self {
        let end = bytes.len() - 22;
        let (count, mut at) = (u16_at(bytes, end + 10), u32_at(bytes, end + 16));
        let mut members = Vec::new();
        for _ in 0..count {
            let central: [u8; 46] = bytes[at..at + 46].try_into().unwrap();
            let [name, extra, comment] = [28, 30, 32].map(|field| u16_at(&central, field));
            let start = u32_at(&central, 42);
            let local: [u8; 30] = bytes[start..start + 30].try_into().unwrap();
            let [local_name, local_extra] = [26, 28].map(|field| u16_at(&local, field));
            let data = start + 30 + local_name + local_extra;
            members.push(Member {
                local,
                name: bytes[start + 30..start + 30 + local_name].to_vec(),
                extra: bytes[start + 30 + local_name..data].to_vec(),
                data: bytes[data..data + u32_at(&central, 20)].to_vec(),
                gap: Vec::new(),
                central,
                central_name: bytes[at + 46..at + 46 + name].to_vec(),
                central_extra: bytes[at + 46 + name..at + 46 + name + extra].to_vec(),
                comment: Vec::new(),
                offset: None,
            });
            at += 46 + name + extra + comment;
        }
        Self {
            before: Vec::new(),
            members,
            directory: None,
            gap: Vec::new(),
            end: bytes[end..].try_into().unwrap(),
            comment: Vec::new(),
            behind: Vec::new(),
        }
    }

    /// Puts it together again; lengths and offsets follow from the parts.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = self.before.clone();
        let mut offsets = Vec::new();
        for member in &self.members {
            offsets.push(bytes.len());
            let mut local = member.local;
            put16(&mut local, 26, member.name.len());
            put16(&mut local, 28, member.extra.len());
            for part in [local.as_slice(), &member.name, &member.extra, &member.data, &member.gap] {
                bytes.extend(part);
            }
        }
        let start = bytes.len();
        let order = self.directory.clone().unwrap_or_else(|| (0..self.members.len()).collect());
        for index in &order {
            let member = &self.members[*index];
            let mut central = member.central;
            put16(&mut central, 28, member.central_name.len());
            put16(&mut central, 30, member.central_extra.len());
            put16(&mut central, 32, member.comment.len());
            put32(&mut central, 42, member.offset.map_or(offsets[*index], |offset| offset as usize));
            for part in [central.as_slice(), &member.central_name, &member.central_extra, &member.comment] {
                bytes.extend(part);
            }
        }
        let mut end = self.end;
        put32(&mut end, 12, bytes.len() - start);
        put32(&mut end, 16, start);
        for field in [8, 10] {
            // What was changed on purpose stays.
            if u16_at(&end, field) == self.members.len() || order.len() != self.members.len() {
                put16(&mut end, field, order.len());
            }
        }
        put16(&mut end, 20, self.comment.len());
        for part in [self.gap.as_slice(), &end, &self.comment, &self.behind] {
            bytes.extend(part);
        }
        bytes
    }
}

//! The images of processes by identity: read when first seen, read again when an address is not found, forgotten in time.
//!
//! One thread observes while events arrive, another looks up while it names stacks; both share one registry. `/proc` is
//! read outside the lock. An exec replaces the image and not the process, so an image first read late, after a further exec that
//! the registry has not been told of yet, shows the later program: the kernel tells no exec time to compare with. A later reading
//! is believed if it still shows the program where it was.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::asking_time::AskingTime;
use super::executables::Executables;
use super::image::Image;
use super::limits;
use super::maps::Address;
use super::pause::Pause;
use super::peers::Peers;
use super::readings::Readings;
use super::recent::RecentMap;
use super::subjects::Subjects;
use super::wakers::Wakers;
use super::world::World;
use crate::profile::ImageId;
use crate::wire::MappedCode;

/// All images known.
#[derive(Debug)]
pub struct Registry {
    executables: Arc<Executables>,
    subjects: Subjects,
    wakers: Wakers,
    peers: Peers,
    books: Mutex<Books>,
}

#[derive(Debug)]
struct Books {
    images: RecentMap<ImageId, Entry>,
    /// The memory the mappings of `images` take.
    bytes: usize,
    window: u64,
}

#[derive(Debug)]
struct Entry {
    /// `None` if the process was gone, or could not be read, when it was first seen.
    readings: Option<Readings>,
    used: u64,
    ended: bool,
    pause: Pause,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// A registry that knows nothing yet.
    pub fn new() -> Self {
        Self::with_capacity(limits::IMAGES, Executables::default())
    }

    /// A registry of at most `images` images, whose executables it may share with others.
    pub fn with_capacity(images: usize, executables: impl Into<Arc<Executables>>) -> Self {
        let books = Books { images: RecentMap::new(images), bytes: 0, window: 0 };
        let asking_time = Arc::<AskingTime>::default();
        let (subjects, wakers) = (Subjects::within(asking_time.clone()), Wakers::within(asking_time));
        let peers = Peers::default();
        Self { executables: executables.into(), subjects, wakers, peers, books: Mutex::new(books) }
    }

    /// The names of what threads wait for.
    pub fn subjects(&self) -> &Subjects {
        &self.subjects
    }

    /// The names of those who end waits.
    pub fn wakers(&self) -> &Wakers {
        &self.wakers
    }

    /// The names of processes at the other ends of connections.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// The image, read now if it was never seen. `None` if its process was gone before it could be read.
    pub fn observe(&self, id: ImageId, world: &dyn World) -> Option<Arc<Image>> {
        self.observe_at(id, Instant::now(), world)
    }

    /// Like [`Self::observe`], and reads the image again if one of the addresses lies in no mapping known, for example
    /// after the process loaded a library; how often is limited per image.
    pub fn observe_addresses(
        &self,
        id: ImageId,
        addresses: &[u64],
        now: Instant,
        world: &dyn World,
    ) -> Option<Arc<Image>> {
        let image = self.observe_at(id, now, world)?;
        match addresses.iter().all(|address| image.mappings.find(Address(*address)).is_some()) {
            true => Some(image),
            false => self.refresh(id, now, world),
        }
    }

    /// Reads the image again, unless that was done a short time ago; returns the newest image there is.
    pub fn refresh(&self, id: ImageId, now: Instant, world: &dyn World) -> Option<Arc<Image>> {
        let known = self.lock().start_refresh(&id, now);
        match known {
            Refresh::Unknown => self.read(id, now, world),
            Refresh::TooSoon(image) => image,
            Refresh::Due(old) => self.replace(id, old, world),
        }
    }

    /// Reads the image again at once, because code of it may be replaced; `None` if it was never read, or ended.
    pub fn reread(&self, id: ImageId, world: &dyn World) -> Option<Arc<Image>> {
        let newest = self.lock().use_entry(&id).filter(|entry| !entry.ended)?.newest()?;
        self.replace(id, Some(newest), world)
    }

    /// Notes that memory is about to be mapped where code of an image was. Returns whether it is known.
    pub fn note_mapped(&self, code: MappedCode) -> bool {
        let mut books = self.lock();
        let readings = books.images.find(&code.image).and_then(|entry| entry.readings.as_mut());
        readings.map(|readings| readings.note_mapped(code)).is_some()
    }

    /// Notes when a stack of an image, captured at `at_ns`, says that code was last replaced.
    pub fn note_stack(&self, id: ImageId, code_ns: u64, at_ns: u64) {
        if let Some(readings) = self.lock().images.find(&id).and_then(|entry| entry.readings.as_mut()) {
            readings.note_stack(code_ns, at_ns);
        }
    }

    /// The image, if it was observed and is not forgotten.
    pub fn image(&self, id: ImageId) -> Option<Arc<Image>> {
        self.lock().use_entry(&id)?.newest()
    }

    /// All readings of the image that are kept.
    pub fn readings(&self, id: ImageId) -> Option<Readings> {
        self.lock().use_entry(&id)?.readings.clone()
    }

    /// When the image mapped code last, as far as its newest reading shows it.
    pub fn code_ns(&self, id: ImageId) -> u64 {
        self.lock().use_entry(&id).and_then(|entry| Some(entry.readings.as_ref()?.code_ns())).unwrap_or_default()
    }

    /// Notes that the image's process ended or executed another program.
    pub fn end_image(&self, id: ImageId) {
        if let Some(entry) = self.lock().images.find(&id) {
            entry.ended = true;
        }
    }

    /// Notes that a window ended, and forgets images that were not used for long enough.
    pub fn end_window(&self) {
        self.lock().end_window();
    }

    /// How many images are known.
    pub fn len(&self) -> usize {
        self.lock().images.len()
    }

    /// Whether no image is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The open executables behind the images.
    pub fn executables(&self) -> &Executables {
        &self.executables
    }

    fn observe_at(&self, id: ImageId, now: Instant, world: &dyn World) -> Option<Arc<Image>> {
        let known = self.lock().use_entry(&id).map(|entry| entry.newest());
        known.unwrap_or_else(|| self.read(id, now, world))
    }

    fn read(&self, id: ImageId, now: Instant, world: &dyn World) -> Option<Arc<Image>> {
        let image = Image::read(id, &self.executables, world).ok().map(Arc::new);
        self.lock().insert(id, image.clone(), now);
        image
    }

    /// A process that ended keeps the image it had, and so does one that executed another program meanwhile.
    fn replace(&self, id: ImageId, old: Option<Arc<Image>>, world: &dyn World) -> Option<Arc<Image>> {
        let Ok(image) = Image::read(id, &self.executables, world) else { return old };
        if old.as_ref().is_some_and(|old| !old.runs_on_in(&image)) {
            return old;
        }
        let image = Arc::new(image);
        self.lock().replace(id, image.clone());
        Some(image)
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be done about a request to read an image again.
enum Refresh {
    Unknown,
    TooSoon(Option<Arc<Image>>),
    Due(Option<Arc<Image>>),
}

impl Books {
    fn use_entry(&mut self, id: &ImageId) -> Option<&mut Entry> {
        let window = self.window;
        let entry = self.images.find(id)?;
        entry.used = window;
        Some(entry)
    }

    fn insert(&mut self, id: ImageId, image: Option<Arc<Image>>, now: Instant) {
        self.remove(&id);
        let (ended, readings) = (image.is_none(), image.map(Readings::new));
        let entry = Entry { ended, readings, used: self.window, pause: Pause::new(now) };
        self.keep(id, entry);
    }

    fn replace(&mut self, id: ImageId, image: Arc<Image>) {
        if let Some(mut entry) = self.remove(&id) {
            match &mut entry.readings {
                Some(readings) => readings.add(image),
                none => *none = Some(Readings::new(image)),
            }
            self.keep(id, entry);
        }
    }

    fn keep(&mut self, id: ImageId, entry: Entry) {
        self.bytes += entry.bytes();
        let mut forgotten = self.images.insert(id, entry);
        self.bytes -= bytes_of(&forgotten);
        while self.bytes > limits::IMAGES_BYTES && self.images.len() > 1 {
            forgotten = self.images.forget_oldest();
            self.bytes -= bytes_of(&forgotten);
        }
    }

    fn remove(&mut self, id: &ImageId) -> Option<Entry> {
        let entry = self.images.remove(id)?;
        self.bytes -= entry.bytes();
        Some(entry)
    }

    fn start_refresh(&mut self, id: &ImageId, now: Instant) -> Refresh {
        let Some(entry) = self.use_entry(id) else { return Refresh::Unknown };
        match !entry.ended && entry.pause.pass(now) {
            true => Refresh::Due(entry.newest()),
            false => Refresh::TooSoon(entry.newest()),
        }
    }

    fn end_window(&mut self) {
        self.window += 1;
        let (window, mut bytes) = (self.window, 0);
        self.images.retain(|_, entry| {
            let limit = if entry.ended { limits::WINDOWS_AFTER_END } else { limits::WINDOWS_UNUSED };
            let keep = window - entry.used <= limit;
            bytes += if keep { entry.bytes() } else { 0 };
            keep
        });
        self.bytes = bytes;
    }
}

impl Entry {
    fn newest(&self) -> Option<Arc<Image>> {
        self.readings.as_ref().map(|readings| readings.newest().clone())
    }

    fn bytes(&self) -> usize {
        self.readings.as_ref().map_or(0, Readings::bytes)
    }
}

fn bytes_of(entries: &[(ImageId, Entry)]) -> usize {
    entries.iter().map(|(_, entry)| entry.bytes()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixture::{FixtureProcess, FixtureWorld};
    use crate::process::world::ProcFile;
    use crate::profile::ProcessId;
    use std::time::Duration;

    const MAPS: &str = "1000-2000 r-xp 0 00:00 0\n";

    fn image_id(pid: u32, start_ns: u64) -> ImageId {
        ImageId { process: ProcessId { pid, start_ns }, exec_ns: 0 }
    }

    fn process(start_ns: u64, maps: &str) -> FixtureProcess {
        FixtureProcess { comm: "x".into(), start_ns, maps: maps.into(), ..Default::default() }
    }

    #[test]
    fn an_image_is_read_once_and_outlives_its_process() {
        let (world, registry) = (FixtureWorld::default(), Registry::new());
        world.insert(7, process(50_000_000, MAPS));
        let id = image_id(7, 50_123_456);
        assert_eq!(registry.observe(id, &world).unwrap().mappings.len(), 1);
        world.remove(7);
        registry.end_image(id);
        assert!(registry.observe(id, &world).is_some() && registry.image(id).is_some());
        assert_eq!(world.reads(ProcFile::Maps), 1);
    }

    #[test]
    fn a_pid_reused_before_the_reading_is_not_mixed_up() {
        let (world, registry) = (FixtureWorld::default(), Registry::new());
        world.insert(7, process(90_000_000, MAPS));
        assert!(registry.observe(image_id(7, 50_000_000), &world).is_none());
        assert!(registry.observe(image_id(7, 90_000_000), &world).is_some());
    }

    #[test]
    fn a_pid_reused_during_the_reading_is_not_mixed_up() {
        let (world, registry) = (FixtureWorld::default(), Registry::new());
        world.insert(7, process(50_000_000, MAPS));
        world.replace_after_maps(7, process(90_000_000, ""));
        assert!(registry.observe(image_id(7, 50_000_000), &world).is_none());
    }

    #[test]
    fn an_unknown_address_reads_the_image_again_at_doubling_intervals() {
        let (world, registry) = (FixtureWorld::default(), Registry::new());
        world.insert(7, process(50_000_000, MAPS));
        let (id, start) = (image_id(7, 50_000_000), Instant::now());
        let seen = |address, millis| {
            let now = start + Duration::from_millis(millis);
            registry.observe_addresses(id, &[0x1000, address], now, &world);
            world.reads(ProcFile::Maps)
        };
        assert_eq!(seen(0x1800, 0), 1);
        let reads: Vec<usize> = [0, 5, 40, 50, 70, 100, 130].map(|millis| seen(0x9000, millis)).to_vec();
        assert_eq!(reads, [1, 1, 2, 2, 3, 3, 4]);
    }

    #[test]
    fn a_library_loaded_later_is_found() {
        let (world, registry) = (FixtureWorld::default(), Registry::new());
        world.insert(7, process(50_000_000, MAPS));
        let id = image_id(7, 50_000_000);
        registry.observe(id, &world);
        world.insert(7, process(50_000_000, &format!("{MAPS}9000-a000 r-xp 0 00:00 0\n")));
        let later = Instant::now() + Duration::from_secs(1);
        let image = registry.observe_addresses(id, &[0x9000], later, &world).unwrap();
        assert!(image.mappings.find(Address(0x9000)).is_some());
    }

    #[test]
    fn an_image_that_maps_code_is_read_again_at_once_while_its_process_lives() {
        let (world, registry) = (FixtureWorld::default(), Registry::new());
        world.insert(7, process(50_000_000, MAPS));
        let id = image_id(7, 50_000_000);
        let mapped = MappedCode { image: id, at_ns: 1, before_ns: 0, start: 0x1000, end: 0x2000 };
        assert!(registry.reread(id, &world).is_none() && !registry.note_mapped(mapped));
        registry.observe(id, &world);
        assert!(registry.note_mapped(mapped));
        let revisions = [(); 2].map(|()| registry.reread(id, &world).unwrap().revision);
        assert!(revisions[0] < revisions[1] && world.reads(ProcFile::Maps) == 3);
        registry.end_image(id);
        assert!(registry.reread(id, &world).is_none() && registry.image(id).is_some());
    }

    #[test]
    fn another_program_is_not_read_under_the_old_ones_name() {
        let (world, registry) = (FixtureWorld::default(), Registry::new());
        let program = |name: &str, start: u64, library: &str| FixtureProcess {
            executable: format!("/bin/{name}").into(),
            ..process(
                50_000_000,
                &format!("{start:x}-{:x} r-xp 0 fe:00 {start} /bin/{name}\n{library}", start + 0x1000),
            )
        };
        world.insert(7, program("first", 0x1000, ""));
        let id = image_id(7, 50_000_000);
        registry.observe(id, &world);
        world.insert(7, program("second", 0x2000, ""));
        assert!(registry.reread(id, &world).unwrap().mappings.find(Address(0x2000)).is_none());
        world.insert(7, program("first", 0x1000, "9000-a000 r-xp 0 fe:00 9 /lib/new\n"));
        assert!(registry.reread(id, &world).unwrap().mappings.find(Address(0x9000)).is_some());
    }

    #[test]
    fn images_of_ended_processes_are_forgotten_after_some_windows() {
        let (world, registry) = (FixtureWorld::default(), Registry::new());
        let (alive, ended) = (image_id(7, 50_000_000), image_id(8, 50_000_000));
        for id in [alive, ended] {
            world.insert(id.process.pid, process(50_000_000, MAPS));
            registry.observe(id, &world);
        }
        registry.end_image(ended);
        (0..limits::WINDOWS_AFTER_END).for_each(|_| registry.end_window());
        assert_eq!(registry.len(), 2);
        registry.end_window();
        assert!(registry.image(ended).is_none() && registry.image(alive).is_some());
    }

    #[test]
    fn images_with_huge_mappings_are_bounded_by_their_memory() {
        let (world, registry) = (FixtureWorld::default(), Registry::new());
        let line = |at: u64| format!("{:x}000-{:x}000 r-xp 0 00:00 0 [anon:{}]\n", at, at + 1, "x".repeat(4000));
        let maps: String = (1..1000).map(line).collect();
        for pid in 1..=40 {
            world.insert(pid, process(0, &maps));
            assert!(registry.observe(image_id(pid, 0), &world).is_some());
            assert!(registry.lock().bytes <= limits::IMAGES_BYTES);
        }
        assert!(registry.len() < 40 && registry.image(image_id(40, 0)).is_some());
        (0..=limits::WINDOWS_UNUSED).for_each(|_| registry.end_window());
        assert_eq!(registry.lock().bytes, 0);
    }

    #[test]
    fn many_lifetimes_leave_a_bounded_registry() {
        let (world, registry) = (FixtureWorld::default(), Registry::with_capacity(256, Executables::default()));
        for life in 0..250_000u64 {
            let (pid, start_ns) = (100 + (life % 1000) as u32, life * 10_000_000);
            world.insert(pid, process(start_ns, MAPS));
            let id = image_id(pid, start_ns);
            assert!(registry.observe(id, &world).is_some());
            if life % 3 != 0 {
                registry.end_image(id);
            }
            assert!(registry.len() <= 256);
        }
        (0..=limits::WINDOWS_UNUSED).for_each(|_| registry.end_window());
        assert!(registry.is_empty());
    }
}

#include "support/fault_vfs.h"

#include <fstream>
#include <iterator>
#include <random>
#include <utility>

namespace betrace::kms::testing {
namespace {

constexpr auto name = "betrace-faults";

// What SQLite allocates for an open file; the real one's lies behind it.
struct File {
  sqlite3_file base;
  FaultVfs* disk;  // null: a file that is none of the folder's
  const char* path;
};
File& ours(sqlite3_file* file) { return *reinterpret_cast<File*>(file); }
sqlite3_file* real(sqlite3_file* file) { return reinterpret_cast<sqlite3_file*>(&ours(file) + 1); }

}  // namespace

std::string_view to_string(DiskFault::Kind kind) {
  switch (kind) {
    case DiskFault::Kind::short_write:
      return "short write";
    case DiskFault::Kind::io_error:
      return "EIO";
    case DiskFault::Kind::full:
      return "ENOSPC";
    case DiskFault::Kind::failed_sync:
      return "failed fsync";
  }
  return "";
}

// Each asks first whether it shall fail, and tells the model what was done.
struct FaultVfs::Methods {
  static int open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out) {
    auto& self = *static_cast<FaultVfs*>(vfs->pAppData);
    auto& made = ours(file);
    made = {};
    constexpr int modelled = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL;
    if (path != nullptr && (flags & modelled) != 0 && self.holds(path)) {
      made.disk = &self;
      made.path = path;
      const bool exists = std::filesystem::exists(path);
      if (!exists && (flags & SQLITE_OPEN_CREATE) != 0) {
        if (const auto failed = self.strike(Operation::create)) return failed->code;
      }
    }
    const int code = self.real_->xOpen(self.real_, path, real(file), flags, out);
    if (real(file)->pMethods == nullptr) return code;
    made.base.pMethods = &table;
    if (code == SQLITE_OK && made.disk != nullptr) self.opened(path);
    return code;
  }
  static int remove(sqlite3_vfs* vfs, const char* path, int sync_folder) {
    auto& self = *static_cast<FaultVfs*>(vfs->pAppData);
    const bool held = self.holds(path);
    if (held) {
      if (const auto failed = self.strike(Operation::remove)) return failed->code;
    }
    const int code = self.real_->xDelete(self.real_, path, sync_folder);
    if (held && code == SQLITE_OK) self.removed(path);
    return code;
  }
  static int write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
    auto* const disk = ours(file).disk;
    if (disk == nullptr) return real(file)->pMethods->xWrite(real(file), data, size, offset);
    const auto failed = disk->strike(Operation::write);
    if (failed && !failed->in_half) return failed->code;
    const int written = failed ? size / 2 : size;
    const int code = real(file)->pMethods->xWrite(real(file), data, written, offset);
    if (code == SQLITE_OK) {
      disk->wrote(ours(file).path,
                  {.offset = static_cast<std::uint64_t>(offset),
                   .data = {static_cast<const char*>(data), static_cast<std::size_t>(written)}});
    }
    return failed ? failed->code : code;
  }
  static int truncate(sqlite3_file* file, sqlite3_int64 size) {
    auto* const disk = ours(file).disk;
    if (disk != nullptr) {
      if (const auto failed = disk->strike(Operation::truncate)) return failed->code;
    }
    const int code = real(file)->pMethods->xTruncate(real(file), size);
    if (disk != nullptr && code == SQLITE_OK) {
      disk->wrote(ours(file).path,
                  {.offset = static_cast<std::uint64_t>(size), .data = {}, .truncates = true});
    }
    return code;
  }
  static int sync(sqlite3_file* file, int) {
    auto* const disk = ours(file).disk;
    if (disk == nullptr) return SQLITE_OK;
    const auto failed = disk->strike(Operation::sync);
    disk->synced(ours(file).path, !failed);
    return failed ? failed->code : SQLITE_OK;
  }
  static int share(sqlite3_file* file, int page, int size, int extend, void volatile** out) {
    auto* const disk = ours(file).disk;
    if (disk != nullptr && extend != 0) {
      if (const auto failed = disk->strike(Operation::share)) return failed->code;
    }
    return real(file)->pMethods->xShmMap(real(file), page, size, extend, out);
  }

  static int close(sqlite3_file* file) { return real(file)->pMethods->xClose(real(file)); }
  static int read(sqlite3_file* file, void* out, int size, sqlite3_int64 offset) {
    return real(file)->pMethods->xRead(real(file), out, size, offset);
  }
  static int size(sqlite3_file* file, sqlite3_int64* out) {
    return real(file)->pMethods->xFileSize(real(file), out);
  }
  static int lock(sqlite3_file* file, int level) {
    return real(file)->pMethods->xLock(real(file), level);
  }
  static int unlock(sqlite3_file* file, int level) {
    return real(file)->pMethods->xUnlock(real(file), level);
  }
  static int reserved(sqlite3_file* file, int* out) {
    return real(file)->pMethods->xCheckReservedLock(real(file), out);
  }
  static int control(sqlite3_file* file, int operation, void* argument) {
    return real(file)->pMethods->xFileControl(real(file), operation, argument);
  }
  static int sector(sqlite3_file* file) { return real(file)->pMethods->xSectorSize(real(file)); }
  static int device(sqlite3_file* file) {
    return real(file)->pMethods->xDeviceCharacteristics(real(file));
  }
  static int share_lock(sqlite3_file* file, int offset, int count, int flags) {
    return real(file)->pMethods->xShmLock(real(file), offset, count, flags);
  }
  static void share_barrier(sqlite3_file* file) { real(file)->pMethods->xShmBarrier(real(file)); }
  static int unshare(sqlite3_file* file, int remove) {
    return real(file)->pMethods->xShmUnmap(real(file), remove);
  }

  // Version 2: with shared memory, and without mapped files, which are written past xWrite.
  static constexpr sqlite3_io_methods table{
      .iVersion = 2,
      .xClose = close,
      .xRead = read,
      .xWrite = write,
      .xTruncate = truncate,
      .xSync = sync,
      .xFileSize = size,
      .xLock = lock,
      .xUnlock = unlock,
      .xCheckReservedLock = reserved,
      .xFileControl = control,
      .xSectorSize = sector,
      .xDeviceCharacteristics = device,
      .xShmMap = share,
      .xShmLock = share_lock,
      .xShmBarrier = share_barrier,
      .xShmUnmap = unshare,
      .xFetch = nullptr,
      .xUnfetch = nullptr,
  };
};

// The real one's other functions do not ask which VFS they are called with.
FaultVfs::FaultVfs(std::filesystem::path folder)
    : folder_(std::move(folder)), real_(sqlite3_vfs_find(nullptr)), vfs_(*real_) {
  vfs_.pNext = nullptr;
  vfs_.zName = name;
  vfs_.pAppData = this;
  vfs_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
  vfs_.xOpen = Methods::open;
  vfs_.xDelete = Methods::remove;
  sqlite3_vfs_register(&vfs_, 1);
}

FaultVfs::~FaultVfs() {
  sqlite3_vfs_unregister(&vfs_);
  sqlite3_vfs_register(real_, 1);
}

void FaultVfs::arm(const DiskFault& fault, std::function<void()> on_fault) {
  const std::lock_guard lock(mutex_);
  fault_ = fault;
  on_fault_ = std::move(on_fault);
  calls_ = 0;
  fired_ = false;
}

void FaultVfs::disarm() {
  const std::lock_guard lock(mutex_);
  fault_.reset();
}

bool FaultVfs::fired() const {
  const std::lock_guard lock(mutex_);
  return fired_;
}

std::uint64_t FaultVfs::calls() const {
  const std::lock_guard lock(mutex_);
  return calls_;
}

bool FaultVfs::holds(std::string_view path) const {
  return std::filesystem::path(path).parent_path() == folder_;
}

std::optional<FaultVfs::Failure> FaultVfs::failure_of(Operation operation, DiskFault::Kind kind) {
  using Kind = DiskFault::Kind;
  switch (kind) {
    case Kind::short_write:
      if (operation != Operation::write) return {};
      return Failure{.code = SQLITE_IOERR_WRITE, .in_half = true};
    case Kind::failed_sync:
      if (operation != Operation::sync) return {};
      return Failure{.code = SQLITE_IOERR_FSYNC};
    case Kind::full:
    case Kind::io_error:
      break;
  }
  const bool full = kind == Kind::full;
  switch (operation) {
    case Operation::write:
      return Failure{.code = full ? SQLITE_FULL : SQLITE_IOERR_WRITE};
    case Operation::create:
      return Failure{.code = SQLITE_CANTOPEN};
    case Operation::share:
      return Failure{.code = full ? SQLITE_IOERR_SHMSIZE : SQLITE_IOERR_SHMMAP};
    case Operation::truncate:
      if (full) return {};
      return Failure{.code = SQLITE_IOERR_TRUNCATE};
    case Operation::remove:
      if (full) return {};
      return Failure{.code = SQLITE_IOERR_DELETE};
    case Operation::sync:
      break;
  }
  return {};
}

std::optional<FaultVfs::Failure> FaultVfs::strike(Operation operation) {
  std::function<void()> first;
  std::optional<Failure> failure;
  {
    const std::lock_guard lock(mutex_);
    if (fault_) failure = failure_of(operation, fault_->kind);
    if (!failure) return {};
    ++calls_;
    const bool struck = fault_->persistent ? calls_ >= fault_->at : calls_ == fault_->at;
    if (!struck) return {};
    if (!std::exchange(fired_, true)) first = on_fault_;
  }
  if (first) first();
  return failure;
}

void FaultVfs::apply(std::string& content, const Write& write) {
  if (write.truncates) {
    content.resize(std::min<std::size_t>(content.size(), write.offset));
    return;
  }
  const auto end = write.offset + write.data.size();
  if (content.size() < end) content.resize(end);
  content.replace(write.offset, write.data.size(), write.data);
}

// A file that was there before is as durable as it is.
void FaultVfs::opened(const char* path) {
  const std::lock_guard lock(mutex_);
  const auto [model, is_new] = files_.try_emplace(path);
  if (!is_new) return;
  std::ifstream stream(path, std::ios::binary);
  model->second.current.assign(std::istreambuf_iterator<char>(stream), {});
  model->second.durable = model->second.current;
}

void FaultVfs::wrote(const char* path, Write write) {
  const std::lock_guard lock(mutex_);
  auto& model = files_[path];
  apply(model.current, write);
  model.unsynced.push_back(std::move(write));
}

void FaultVfs::synced(const char* path, bool done) {
  const std::lock_guard lock(mutex_);
  auto& model = files_[path];
  if (done) {
    for (const auto& write : model.unsynced) apply(model.durable, write);
  }
  model.unsynced.clear();
}

void FaultVfs::removed(const char* path) {
  const std::lock_guard lock(mutex_);
  files_.erase(path);
}

FaultVfs::Image FaultVfs::image(Crash crash) const {
  const std::lock_guard lock(mutex_);
  Image image;
  std::minstd_rand random(static_cast<unsigned>(calls_ + 1));
  for (const auto& [path, model] : files_) {
    auto& content = image[std::filesystem::path(path).filename()];
    content = crash == Crash::killed ? model.current : model.durable;
    if (crash != Crash::power_flicker) continue;
    for (auto write : model.unsynced) {
      const auto fate = random() % 3;
      if (fate == 0) continue;
      if (fate == 1) write.data.resize(write.data.size() / 2);
      apply(content, write);
    }
  }
  return image;
}

}  // namespace betrace::kms::testing

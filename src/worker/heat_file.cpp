// The file: a header, then as many IndexHeat. It is written aside, flushed to disk and put in the place of the old one, so there is
// always a whole one; a checksum, the number of this very cluster and sizes tell one that is not ours. It holds numbers of databases
// and files, and how much they were used: no names, no values of rows, no conditions. Sets of filters are not in it: to make them
// again somebody's operators would have to run for conditions that nobody has asked for (H34). The first query of each makes it.

#include "pg/compat.hpp"

#include "worker/heat_file.hpp"

#include <algorithm>

#include <fcntl.h>
#include <unistd.h>

#include "pg/settings.hpp"
#include "shmem/frame_pool.hpp"
#include "shmem/heat.hpp"
#include "worker/process.hpp"

extern "C" {
#include "access/xlog.h"
#include "port/pg_crc32c.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"
}

namespace tandem::worker {

namespace {

constexpr char kPath[] = "pg_stat/tandem.heat";
constexpr char kPathAside[] = "pg_stat/tandem.heat.tmp";

constexpr uint64 kMagic = UINT64CONST(0x54414E4448454154);
constexpr uint32 kVersion = 1;

struct FileHeader {
  uint64 magic;
  uint64 system_identifier;
  uint32 version;
  uint32 count;
  uint32 entry_bytes;
  pg_crc32c crc;  ///< of the entries, and of what is in front of it
};

struct HeatFile {
  FileHeader header;
  shmem::IndexHeat heats[shmem::kMostHeats];
};

pg_crc32c ChecksumOf(const HeatFile& file) {
  pg_crc32c crc;
  INIT_CRC32C(crc);
  COMP_CRC32C(crc, &file.header, offsetof(FileHeader, crc));
  COMP_CRC32C(crc, file.heats, file.header.count * sizeof(shmem::IndexHeat));
  FIN_CRC32C(crc);
  return crc;
}

Size BytesOf(const HeatFile& file) {
  return sizeof(FileHeader) + file.header.count * sizeof(shmem::IndexHeat);
}

bool IsSound(const HeatFile& file, ssize_t bytes) {
  const FileHeader& header = file.header;
  return bytes >= static_cast<ssize_t>(sizeof header) && header.magic == kMagic &&
         header.version == kVersion && header.entry_bytes == sizeof(shmem::IndexHeat) &&
         header.count <= shmem::kMostHeats && header.system_identifier == GetSystemIdentifier() &&
         static_cast<Size>(bytes) == BytesOf(file) && header.crc == ChecksumOf(file);
}

/// What is hot now, and what was before the start and is not in memory yet, or no more: that counts half from time to time, until it is
/// next to nothing.
void Collect(HeatFile* file) {
  constexpr float kNextToNothing = 1;
  shmem::IndexHeat past[shmem::kMostHeats];
  uint32 count = shmem::ListHeats(file->heats);
  uint32 past_count = shmem::ReadPastHeats(past);
  const auto is_here = [&](const shmem::IndexHeat& heat) {
    for (uint32 i = 0; i < count; i++)
      if (file->heats[i].file == heat.file && file->heats[i].database == heat.database &&
          file->heats[i].tablespace == heat.tablespace)
        return true;
    return false;
  };
  past_count = static_cast<uint32>(std::remove_if(past, past + past_count, is_here) - past);
  for (uint32 i = 0; i < past_count; i++) {
    past[i].utility /= 2;
    if (past[i].utility > kNextToNothing && count < shmem::kMostHeats) file->heats[count++] = past[i];
  }
  shmem::SetPastHeats(past, past_count);
  std::sort(file->heats, file->heats + count,
            [](const shmem::IndexHeat& a, const shmem::IndexHeat& b) { return a.utility > b.utility; });
  file->header = {kMagic, GetSystemIdentifier(), kVersion, count, sizeof(shmem::IndexHeat), 0};
  file->header.crc = ChecksumOf(*file);
}

/// False, with errno set, if it could not be written and flushed whole.
bool WriteAside(const HeatFile& file) {
  const int descriptor = OpenTransientFile(kPathAside, O_CREAT | O_WRONLY | O_TRUNC | PG_BINARY);
  if (descriptor < 0) return false;
  errno = 0;
  const bool is_written = write(descriptor, &file, BytesOf(file)) == static_cast<ssize_t>(BytesOf(file)) &&
                          pg_fsync(descriptor) == 0;
  // A short write says nothing of why.
  const int error = errno != 0 ? errno : ENOSPC;
  const bool is_closed = CloseTransientFile(descriptor) == 0;
  if (!is_written) errno = error;
  return is_written && is_closed;
}

void WriteHeatFile() {
  HeatFile file = {};
  Collect(&file);
  if (!WriteAside(file)) {
    ereport(LOG, (errcode_for_file_access(), errmsg("could not write file \"%s\": %m", kPathAside),
                  errdetail("After a restart graphs are loaded in the order of an earlier time.")));
    (void)unlink(kPathAside);
    return;
  }
  (void)durable_rename(kPathAside, kPath, LOG);
}

void ReadHeatFile() {
  HeatFile file = {};
  uint32 count = 0;
  const int descriptor = OpenTransientFile(kPath, O_RDONLY | PG_BINARY);
  if (descriptor >= 0) {
    const ssize_t bytes = read(descriptor, &file, sizeof file);
    (void)CloseTransientFile(descriptor);
    if (IsSound(file, bytes))
      count = file.header.count;
    else
      ereport(LOG, (errmsg("ignoring file \"%s\": it is damaged, or of another server", kPath),
                    errdetail("Graphs are loaded in no particular order.")));
  } else if (errno != ENOENT) {
    ereport(LOG, (errcode_for_file_access(), errmsg("could not open file \"%s\": %m", kPath)));
  }
  shmem::SetPastHeats(file.heats, count);
}

bool IsWanted() {
  return shmem::FramesExist() && pg::CurrentSettings().persistence_interval_s > 0;
}

/// Not after an error or a crash: what is in shared memory may be anything then.
void WriteAtEnd(int /*code*/, Datum /*unused*/) {
  if (ShutdownRequestPending && IsWanted()) WriteHeatFile();
}

TimestampTz last_at;

TimestampTz NextWrite() {
  return TimestampTzPlusMilliseconds(last_at,
                                     pg::CurrentSettings().persistence_interval_s * INT64CONST(1000));
}

}  // namespace

void BeginHeatFile() {
  last_at = GetCurrentTimestamp();
  if (!shmem::FramesExist()) return;
  if (!shmem::HasPastHeats()) ReadHeatFile();
  before_shmem_exit(WriteAtEnd, 0);
}

TimestampTz WriteHeatFileIfDue() {
  if (!IsWanted()) return kNever;
  if (GetCurrentTimestamp() < NextWrite()) return NextWrite();
  WriteHeatFile();
  last_at = GetCurrentTimestamp();
  return NextWrite();
}

}  // namespace tandem::worker

#include "pg/compat.hpp"

#include "worker/state_file.hpp"

#include <fcntl.h>
#include <unistd.h>

extern "C" {
#include "access/xlog.h"
#include "common/file_perm.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"
}

namespace tandem::worker {

namespace {

struct FileHeader {
  uint64 magic;
  uint64 system_identifier;
  uint64 bytes;  ///< that follow
  uint32 version;
  pg_crc32c crc;  ///< of these, and of what is in front of it
};

pg_crc32c ChecksumOf(const FileHeader& header, const char* content) {
  pg_crc32c crc;
  INIT_CRC32C(crc);
  COMP_CRC32C(crc, &header, offsetof(FileHeader, crc));
  COMP_CRC32C(crc, content, header.bytes);
  FIN_CRC32C(crc);
  return crc;
}

bool WriteAll(int descriptor, const void* bytes, Size size) {
  return write(descriptor, bytes, size) == static_cast<ssize_t>(size);
}

/// False, with errno set, if it could not be written and flushed whole.
bool WriteAside(const StateFile& file, const FileHeader& header, const char* content) {
  const mode_t mode = file.is_secret ? S_IRUSR | S_IWUSR : pg_file_create_mode;
  // A file of an earlier attempt would keep its rights.
  (void)unlink(file.path_aside);
  const int descriptor =
      OpenTransientFilePerm(file.path_aside, O_CREAT | O_WRONLY | O_TRUNC | PG_BINARY, mode);
  if (descriptor < 0) return false;
  errno = 0;
  const bool is_written = WriteAll(descriptor, &header, sizeof header) &&
                          WriteAll(descriptor, content, header.bytes) && pg_fsync(descriptor) == 0;
  // A short write says nothing of why.
  const int error = errno != 0 ? errno : ENOSPC;
  const bool is_closed = CloseTransientFile(descriptor) == 0;
  if (!is_written) errno = error;
  return is_written && is_closed;
}

bool IsSound(const StateFile& file, const FileHeader& header, ssize_t bytes, const char* content) {
  return bytes >= static_cast<ssize_t>(sizeof header) && header.magic == file.magic &&
         header.version == file.version && header.system_identifier == GetSystemIdentifier() &&
         static_cast<Size>(bytes) - sizeof header == header.bytes &&
         header.crc == ChecksumOf(header, content);
}

}  // namespace

void WriteStateFile(const StateFile& file, base::Span<const char> content) {
  FileHeader header = {file.magic, GetSystemIdentifier(), content.size(), file.version, 0};
  header.crc = ChecksumOf(header, content.data());
  if (!WriteAside(file, header, content.data())) {
    ereport(LOG, (errcode_for_file_access(), errmsg("could not write file \"%s\": %m", file.path_aside),
                  errdetail("%s", file.loss)));
    (void)unlink(file.path_aside);
    return;
  }
  (void)durable_rename(file.path_aside, file.path, LOG);
}

void RemoveStateFile(const StateFile& file) {
  if (unlink(file.path) != 0 && errno != ENOENT)
    ereport(LOG, (errcode_for_file_access(), errmsg("could not remove file \"%s\": %m", file.path)));
}

base::Span<const char> ReadStateFile(const StateFile& file, Size most) {
  FileHeader header = {};
  // One byte more than there may be: who has it is too long.
  auto* all = static_cast<char*>(palloc(sizeof header + most + 1));
  const int descriptor = OpenTransientFile(file.path, O_RDONLY | PG_BINARY);
  if (descriptor < 0) {
    if (errno != ENOENT)
      ereport(LOG, (errcode_for_file_access(), errmsg("could not open file \"%s\": %m", file.path)));
    return {};
  }
  const ssize_t bytes = read(descriptor, all, sizeof header + most + 1);
  (void)CloseTransientFile(descriptor);
  if (bytes >= static_cast<ssize_t>(sizeof header)) std::memcpy(&header, all, sizeof header);
  const char* content = all + sizeof header;
  if (IsSound(file, header, bytes, content)) return {content, header.bytes};
  ereport(LOG, (errmsg("ignoring file \"%s\": it is damaged, or of another server", file.path),
                errdetail("%s", file.loss)));
  return {};
}

}  // namespace tandem::worker

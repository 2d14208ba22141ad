#include "pg/pg.hpp"

#include "pg/stop_point.hpp"

#ifdef TANDEM_STOP_POINTS

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

extern "C" {
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/guc.h"
}

namespace tandem::pg {

static char* stop_points_setting = nullptr;

void RegisterStopPoints() {
  DefineCustomStringVariable("tandem.stop_points", "Arms stop points, for tests.", nullptr,
                             &stop_points_setting, "", PGC_SUSET, 0, nullptr, nullptr, nullptr);
}

/// Finds NAME= in the setting and copies the action behind it.
static bool ActionOf(const char* name, char* action, std::size_t size) {
  const std::size_t length = std::strlen(name);
  for (const char* at = stop_points_setting; at != nullptr && *at != '\0';) {
    while (*at == ' ' || *at == ',') at++;
    const std::size_t item = std::strcspn(at, ",");
    if (item > length + 1 && std::strncmp(at, name, length) == 0 && at[length] == '=') {
      const std::size_t count = Min(item - length - 1, size - 1);
      std::memcpy(action, at + length + 1, count);
      action[count] = '\0';
      return true;
    }
    at += item;
  }
  return false;
}

static void WaitForGo(const char* name) {
  char path[MAXPGPATH];
  (std::snprintf)(path, sizeof path, "tandem_stop_points/%s.reached", name);
  mkdir("tandem_stop_points", 0700);
  const int fd = open(path, O_CREAT | O_WRONLY, 0600);
  if (fd >= 0) close(fd);
  (std::snprintf)(path, sizeof path, "tandem_stop_points/%s.go", name);
  for (int i = 0; i < 120'000 && access(path, F_OK) != 0; i++) {
    CHECK_FOR_INTERRUPTS();
    pg_usleep(10 * 1000);
  }
}

/// Isolation tests see that a session waits for a lock; they do not see that it looks for a file.
static void WaitForAdvisoryLock() {
  constexpr uint32 kKey = 4711;
  LOCKTAG tag;
  SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, kKey, 1);
  (void)LockAcquire(&tag, ShareLock, true, false);
  LockRelease(&tag, ShareLock, true);
}

void StopPoint(const char* name) {
  char action[32];
  if (stop_points_setting == nullptr || *stop_points_setting == '\0') return;
  if (!ActionOf(name, action, sizeof action)) return;
  if (std::strcmp(action, "wait") == 0)
    WaitForGo(name);
  else if (std::strcmp(action, "lock") == 0)
    WaitForAdvisoryLock();
  else if (std::strcmp(action, "crash") == 0)
    kill(getpid(), SIGKILL);
  else if (std::strcmp(action, "error") == 0)
    ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("stop point \"%s\"", name)));
}

bool IsSwitchedOn(const char* name) {
  char action[32];
  return stop_points_setting != nullptr && ActionOf(name, action, sizeof action) &&
         std::strcmp(action, "on") == 0;
}

}  // namespace tandem::pg

#endif

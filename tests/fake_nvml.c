// A libnvidia-ml.so.1 for tests: GPUs whose power, counter, clocks and failures follow a script, at a time
// that the script sets. What nvidia-ml-py calls has NVML's names and signatures; `fake_*` is the script.
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { kDevices = 4, kFunctions = 4 };
enum { kUninitialized = 1, kInvalid = 2, kNotSupported = 3 };
enum { kEnergy, kPower, kFields, kState };  // groups of functions that can be told to fail
enum { kPowerInstant = 186, kUnsignedInt = 1 };

typedef struct {
  double watts;           // drawn now
  double joules;          // drawn until `since`
  double since;           // s
  double period;          // s between two updates of the counter
  double updated;         // s, when the counter was updated last
  double shown;           // J drawn until then
  double offset;          // J in the counter at time 0
  int error[kFunctions];  // what a group of functions returns instead of 0
  int stuck;              // whether the counter stands still
  unsigned long long reasons;
} Device;

static Device devices[kDevices];
static int count;
static int initialized;
static double now;  // s

static double drawn(const Device* d, double time) { return d->joules + d->watts * (time - d->since); }

void fake_reset(int n) {
  memset(devices, 0, sizeof devices);
  count = n;
  now = 0;
  for (int i = 0; i < kDevices; ++i) devices[i] = (Device){.period = 0.1, .offset = 1000 + i};
}
void fake_now(double seconds) {  // the counter shows what was drawn until its last update
  now = seconds;
  for (int i = 0; i < count; ++i) {
    Device* d = &devices[i];
    const double update = floor(now / d->period) * d->period;
    if (d->stuck || update <= d->updated) continue;
    d->shown = drawn(d, update);
    d->updated = update;
  }
}
void fake_watts(int i, double watts) {
  devices[i].joules = drawn(&devices[i], now);
  devices[i].since = now;
  devices[i].watts = watts;
}
void fake_period(int i, double seconds) { devices[i].period = seconds; }
void fake_error(int i, int group, int code) { devices[i].error[group] = code; }
void fake_stuck(int i, int stuck) { devices[i].stuck = stuck; }
void fake_offset(int i, double joules) { devices[i].offset = joules; }
void fake_reasons(int i, unsigned long long bits) { devices[i].reasons = bits; }

int nvmlInitWithFlags(unsigned flags) {
  (void)flags;
  initialized = 1;
  return 0;
}
int nvmlShutdown(void) {
  initialized = 0;
  return 0;
}
const char* nvmlErrorString(int code) {
  (void)code;
  return "an error of the script";
}
int nvmlDeviceGetCount_v2(unsigned* out) {
  *out = count;
  return initialized ? 0 : kUninitialized;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void** out) {
  if (!initialized) return kUninitialized;
  if ((int)i >= count) return kInvalid;
  *out = &devices[i];
  return 0;
}
static int index_of(void* handle) { return (int)((Device*)handle - devices); }
int nvmlDeviceGetUUID(void* handle, char* out, unsigned size) {
  snprintf(out, size, "GPU-%08x-fake", 0xa0 + index_of(handle));
  return 0;
}
int nvmlDeviceGetHandleByUUID(const char* uuid, void** out) {
  char own[64];
  for (int i = 0; i < count; ++i) {
    nvmlDeviceGetUUID(&devices[i], own, sizeof own);
    if (!strcmp(own, uuid)) {
      *out = &devices[i];
      return 0;
    }
  }
  return kInvalid;
}
int nvmlDeviceGetName(void* handle, char* out, unsigned size) {
  snprintf(out, size, "Fake GPU %d", index_of(handle));
  return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void* handle, unsigned long long* out) {
  const Device* d = handle;
  *out = (unsigned long long)((d->offset + d->shown) * 1e3);
  return d->error[kEnergy];
}
int nvmlDeviceGetPowerUsage(void* handle, unsigned* out) {
  const Device* d = handle;
  *out = (unsigned)(d->watts * 1e3);
  return d->error[kPower];
}

typedef struct {  // nvmlFieldValue_t
  unsigned field, scope;
  long long timestamp, latency_us;
  unsigned value_type, result;
  union {
    double d;
    unsigned ui;
    unsigned long long ull;
  } value;
} Field;
int nvmlDeviceGetFieldValues(void* handle, int n, Field* fields) {
  const Device* d = handle;
  for (int i = 0; i < n; ++i) {
    fields[i].value_type = kUnsignedInt;
    fields[i].value.ui = (unsigned)(d->watts * 1e3);
    fields[i].result = fields[i].field == kPowerInstant ? d->error[kFields] : kNotSupported;
  }
  return 0;
}

int nvmlDeviceGetClockInfo(void* handle, unsigned type, unsigned* out) {
  (void)type;
  *out = 1410;
  return ((Device*)handle)->error[kState];
}
int nvmlDeviceGetTemperature(void* handle, unsigned sensor, unsigned* out) {
  (void)sensor;
  *out = 61;
  return ((Device*)handle)->error[kState];
}
int nvmlDeviceGetEnforcedPowerLimit(void* handle, unsigned* out) {
  *out = 300000;
  return ((Device*)handle)->error[kState];
}
int nvmlDeviceGetCurrentClocksEventReasons(void* handle, unsigned long long* out) {
  *out = ((Device*)handle)->reasons;
  return ((Device*)handle)->error[kState];
}

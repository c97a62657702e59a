// An empty Python module, so that `from greenkernels import _C` loads the registrations of the other files in
// this folder.
#if __has_include( \
    <Python.h>)  // greenkernels loads the library by its path, so a machine without Python's headers can build it
#include <Python.h>

extern "C" __attribute__((visibility("default"))) PyObject* PyInit__C() {
  static PyModuleDef definition = {
      PyModuleDef_HEAD_INIT, "_C", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};
  return PyModule_Create(&definition);
}
#endif

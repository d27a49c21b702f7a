// A DLL that is loaded and freed: its static object must be constructed by the one and destroyed by the other.
static int *counter;

struct Static {
  bool alive = false;
  Static() { alive = true; }
  ~Static() {
    if (counter) ++*counter;
  }
};
static Static object;

extern "C" __declspec(dllexport) bool watch(int *destroyed) {
  counter = destroyed;
  return object.alive;
}

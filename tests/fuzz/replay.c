/* Runs a target over saved inputs without a fuzzer: every file of the folders and every file given, in the order of their names.
 * Each input lies in memory of exactly its size, so that a read beyond it is seen by the sanitizers. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

static int count;

static void run_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) {
    perror(path);
    exit(1);
  }
  fseek(file, 0, SEEK_END);
  long size = ftell(file);
  rewind(file);
  uint8_t *bytes = malloc(size > 0 ? (size_t)size : 1);
  if (size < 0 || !bytes || fread(bytes, 1, (size_t)size, file) != (size_t)size) {
    perror(path);
    exit(1);
  }
  fclose(file);
  fprintf(stderr, "%s\n", path); /* the last line tells which input it was if the target dies */
  LLVMFuzzerTestOneInput(bytes, (size_t)size);
  free(bytes);
  count++;
}

static int visible(const struct dirent *entry) { return entry->d_name[0] != '.'; }

static void run_path(const char *path) {
  struct stat found;
  struct dirent **names;
  if (stat(path, &found) || !S_ISDIR(found.st_mode)) {
    run_file(path);
    return;
  }
  int entries = scandir(path, &names, visible, alphasort);
  for (int i = 0; i < entries; i++) {
    char inner[4096];
    snprintf(inner, sizeof inner, "%s/%s", path, names[i]->d_name);
    run_file(inner);
    free(names[i]);
  }
  if (entries >= 0)
    free(names);
}

int main(int argc, char **argv) {
  if (LLVMFuzzerInitialize)
    LLVMFuzzerInitialize(&argc, &argv);
  for (int i = 1; i < argc; i++)
    run_path(argv[i]);
  printf("%d inputs, none with a finding\n", count);
  return count == 0;
}

/* A program that books seats: an order in a SQLite file, the seats at a hall that is reached by functions of the program, and a letter to
 * the customer. All of it happens, or nothing: docs/library.md walks through it.
 *
 *   cc booking.c -o booking $(pkg-config --cflags --libs libaon)
 *   ./booking FOLDER ORDER SEAT…          for example: ./booking data order1 A1 A2 */
#include <aon/aon.h>
#include <aon/callback.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the hall: can be done, can be taken back, can be looked at ---- */

typedef struct hall {
  char taken[8][8]; /* seats; a real program would call the hall's service */
} hall;

static char *seat_of(hall *h, aon_text id) {
  for (size_t i = 0; i < 8; i++)
    if (strlen(h->taken[i]) == id.length && !memcmp(h->taken[i], id.data, id.length))
      return h->taken[i];
  return NULL;
}

static aon_result release(void *context, const aon_callback_operation *operation, aon_error *error) {
  (void)error;
  char *seat = seat_of(context, operation->id);
  if (seat) { /* may be asked for again after a crash: nothing to do then */
    printf("  hall: %s is free again\n", seat);
    memset(seat, 0, 8);
  }
  return AON_OK;
}

static aon_result reserve(void *context, const aon_callback_operation *operation, aon_error *error) {
  if (operation->kind == AON_DELETE)
    return release(context, operation, error);
  char *place = seat_of(context, (aon_text){"", 0});
  if (!place || operation->id.length >= 8)
    return aon_fail(error, AON_PERMANENT, "hall_full", "The hall has no seat %.*s left.", (int)operation->id.length, operation->id.data);
  memcpy(place, operation->id.data, operation->id.length);
  printf("  hall: %s is reserved\n", place);
  return AON_OK;
}

static aon_result look(void *context, const char *collection, aon_text id, bson_t *document, bool *ret_exists, aon_error *error) {
  (void)collection;
  (void)document; /* a seat has no properties: {} */
  (void)error;
  *ret_exists = id.length && seat_of(context, id);
  return AON_OK;
}

/* ---- the letter: can't be taken back, so it has no undo and goes out when everything else is in ---- */

static aon_result send_letter(void *context, const aon_callback_operation *operation, aon_error *error) {
  (void)context;
  (void)error;
  printf("  post: a letter about %.*s goes out\n", (int)operation->id.length, operation->id.data);
  return AON_OK;
}

/* ---- the program ---- */

static aon_result open_stores(aon_session *session, const char *folder, const aon_callbacks *hall_calls, const aon_callbacks *post_calls,
                              aon_error *error) {
  char path[4096];
  snprintf(path, sizeof path, "%s/shop.db", folder);
  const aon_store_config shop = {.name = "shop", .location = path, .create = true};
  const aon_store_config seats = {.name = "hall", .options = hall_calls};
  const aon_store_config post = {.name = "post", .options = post_calls};
  aon_result result = aon_session_store(session, &aon_sqlite_adapter, &shop, error);
  if (!result)
    result = aon_session_store(session, &aon_callback_adapter, &seats, error);
  if (!result)
    result = aon_session_store(session, &aon_callback_adapter, &post, error);
  return result;
}

/* One line for each document, in JSON (docs/reference.md). Names from outside must be escaped; here they are letters and digits. */
static char *write_lines(const char *order, char **seats, int count) {
  char *text = NULL;
  size_t length;
  FILE *out = open_memstream(&text, &length);
  if (!out)
    return NULL;
  fprintf(out, "{\"store\":\"shop\",\"collection\":\"orders\",\"id\":\"%s\",\"operation\":\"create\",\"data\":{\"seats\":%d}}\n", order,
          count);
  for (int i = 0; i < count; i++)
    fprintf(out, "{\"store\":\"hall\",\"collection\":\"seats\",\"id\":\"%s\",\"operation\":\"create\",\"data\":{}}\n", seats[i]);
  fprintf(out, "{\"store\":\"post\",\"collection\":\"letters\",\"id\":\"%s\",\"operation\":\"create\",\"data\":{}}\n", order);
  return fclose(out) ? NULL : text;
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: %s FOLDER ORDER SEAT...\n", argv[0]);
    return 1;
  }
  hall places = {{"C3"}}; /* one seat is taken already */
  const aon_callbacks hall_calls = {
      .version = AON_CALLBACKS_VERSION, .context = &places, .perform = reserve, .undo = release, .read = look};
  const aon_callbacks post_calls = {.version = AON_CALLBACKS_VERSION, .perform = send_letter};
  const aon_session_options options = {.data_folder = argv[1], .user = "booking"};
  aon_session *session = NULL;
  aon_error error = AON_ERROR_INIT;
  char *result_text = NULL, *lines = write_lines(argv[2], argv + 3, argc - 3);
  int status = 1;

  aon_result result = lines ? aon_session_open(&options, &session, &error) : aon_fail_memory(&error);
  if (!result)
    result = open_stores(session, argv[1], &hall_calls, &post_calls, &error);
  if (!result) /* what an earlier run of this program left when it was killed */
    result = aon_session_recover(session, NULL, NULL, NULL, NULL, &error);
  if (!result)
    result = aon_session_apply(session, lines, strlen(lines), NULL, &result_text, &status, &error);

  if (result) /* nothing was begun, or its end could not be reached: error.bulk_id names it then */
    fprintf(stderr, "%s (%s)\n", error.sentence, error.code);
  else /* it came to an end; status and "state" in the text say to which */
    printf("%s\n", result_text);
  aon_result_text_free(result_text);
  aon_session_close(session);
  free(lines);
  return status;
}

/* candump text to columns: the inner loop of bms_can.columnar.scan.
 *
 * No Python in here: kernel.py calls it through ctypes with the addresses of numpy arrays, which
 * the caller sized. A line that this parser does not know is given back as an odd one, for
 * bms_can.candump to judge; nothing is decided twice.
 */
#include "kernel_digits.h"

#define CLASSICAL 8
#define FD 64
#define NAME_ROOM 32 /* of a channel: its length, then its characters */

struct rows {
    double *at_s;
    uint16_t *channel;
    uint32_t *can_id;
    uint8_t *extended, *length;
    int64_t *line;
    uint8_t *data;
    int64_t width, capacity, used, lines;
    int64_t *odd_row, *odd_start, *odd_end; /* lines for the slow lane; room for `capacity` */
    int64_t odds;
    uint8_t *names; /* `channels` of at most `most_channels` */
    int64_t channels, most_channels, last;
    int64_t too_narrow; /* set: the next payload needs rows of 64 bytes */
};

/* "(seconds.fraction) " from `at`; returns what follows, or NULL. */
static Text read_time(Text at, double *seconds) {
    if (at[0] != '(')
        return NULL;
    if (at[11] == '.' && at[18] == ')' && at[19] == ' ') {
        int64_t front = eight_digits(load(at + 1));
        uint64_t back = (load(at + 12) & 0x0000FFFFFFFFFFFF) << 16 | 0x3030;
        int64_t micros = eight_digits(back);
        unsigned tens = (unsigned)at[9] - '0', ones = (unsigned)at[10] - '0';
        if (front >= 0 && micros >= 0 && tens < 10 && ones < 10) {
            int64_t whole = front * 100 + tens * 10 + ones;
            *seconds = quotient((uint64_t)(whole * 1000000 + micros), 6);
            return at + 20;
        }
    }
    uint64_t number = 0;
    int digits = 0, fraction = 0;
    for (at++; (unsigned)*at - '0' < 10; at++, digits++)
        if (digits < 12)
            number = number * 10 + (*at - '0');
    if (digits < 1 || digits > 12 || *at++ != '.')
        return NULL;
    for (; (unsigned)*at - '0' < 10; at++, fraction++) {
        if (fraction == 9 || number > (UINT64_MAX - 9) / 10)
            return NULL;
        number = number * 10 + (*at - '0');
    }
    if (fraction < 1 || at[0] != ')' || at[1] != ' ')
        return NULL;
    *seconds = quotient(number, fraction);
    return at + 2;
}

/* The channel and the space behind it. */
static Text read_channel(Text at, struct rows *rows, int64_t *index) {
    Text name = rows->names + rows->last * NAME_ROOM;
    if (rows->channels && name[0] && !memcmp(name + 1, at, name[0]) && at[name[0]] == ' ') {
        *index = rows->last;
        return at + name[0] + 1;
    }
    int64_t length = 0;
    while (at[length] > ' ' && at[length] < 127)
        if (++length == NAME_ROOM)
            return NULL;
    if (!length || at[length] != ' ')
        return NULL;
    int64_t found = 0;
    for (; found < rows->channels; found++) {
        name = rows->names + found * NAME_ROOM;
        if (name[0] == length && !memcmp(name + 1, at, (size_t)length))
            break;
    }
    if (found == rows->channels) {
        if (found == rows->most_channels)
            return NULL;
        uint8_t *room = rows->names + found * NAME_ROOM;
        room[0] = (uint8_t)length;
        memcpy(room + 1, at, (size_t)length);
        rows->channels++;
    }
    *index = rows->last = found;
    return at + length + 1;
}

/* Three or eight hexadecimal digits and a mark. */
static Text read_identifier(Text at, uint8_t mark, uint32_t *can_id, uint8_t *extended) {
    unsigned a = HEX[at[0]], b = HEX[at[1]], c = HEX[at[2]];
    if (at[3] == mark) {
        *can_id = a << 8 | b << 4 | c;
        *extended = 0;
        return (a | b | c) < 16 && *can_id <= 0x7FF ? at + 4 : NULL;
    }
    int64_t bytes = four_bytes(load(at));
    if (bytes < 0 || at[8] != mark)
        return NULL;
    *can_id = __builtin_bswap32((uint32_t)bytes);
    *extended = 1;
    return *can_id <= 0x1FFFFFFF ? at + 9 : NULL;
}

/* At most `most` bytes as pairs of hexadecimal digits. */
static Text read_bytes(Text at, uint8_t *data, int most, int *length) {
    int count = 0;
    for (; count < most; count++, at += 2) {
        unsigned high = HEX[at[0]];
        if (high > 15)
            break;
        unsigned low = HEX[at[1]];
        if (low > 15)
            break;
        data[count] = (uint8_t)(high << 4 | low);
    }
    *length = count;
    return at;
}

static int is_fd_length(int length) {
    return length <= 8 || (length <= 24 && length % 4 == 0) || length == 32 || length == 48 ||
           length == 64;
}

/* Up to 64 bytes of CAN FD, zeros behind them, into `row`; too long for it sets `too_narrow`. */
static int put_bytes(struct rows *rows, int64_t row, const uint8_t *bytes, int length) {
    if (!is_fd_length(length))
        return 0;
    if (length > rows->width) {
        rows->too_narrow = 1;
        return 0;
    }
    memcpy(rows->data + row * rows->width, bytes, (size_t)rows->width);
    rows->length[row] = (uint8_t)length;
    return 1;
}

/* A payload of `candump -l` that is not eight bytes. */
static __attribute__((noinline)) Text read_odd_payload(Text at, struct rows *rows, int64_t row) {
    uint8_t bytes[FD] = {0};
    int length, most = CLASSICAL;
    if (*at == '#') {
        if (HEX[at[1]] > 15)
            return NULL;
        at += 2;
        most = FD;
    }
    at = read_bytes(at, bytes, most, &length);
    return put_bytes(rows, row, bytes, length) ? at : NULL;
}

static Text read_payload(Text at, struct rows *rows, int64_t row) {
    int64_t front = four_bytes(load(at)), back = front < 0 ? -1 : four_bytes(load(at + 8));
    if (back < 0)
        return read_odd_payload(at, rows, row);
    uint8_t *data = rows->data + row * rows->width;
    uint64_t word = (uint64_t)front | (uint64_t)back << 32;
    memcpy(data, &word, CLASSICAL);
    if (rows->width > CLASSICAL)
        memset(data + CLASSICAL, 0, (size_t)(rows->width - CLASSICAL));
    rows->length[row] = CLASSICAL;
    return at + 16;
}

static int is_blank(uint8_t character) {
    return character == ' ' || character == '\t' || character == '\v' || character == '\f';
}

/* What may stand behind a payload: a direction, blanks, the line's end. Returns the next line. */
static Text read_end(Text at, Text end, int final) {
    if (*at == '\n' && at < end)
        return at + 1;
    if (at[0] == ' ' && (at[1] == 'R' || at[1] == 'T'))
        at += 2;
    while (is_blank(*at))
        at++;
    if (at >= end)
        return final && at == end ? end : NULL;
    if (*at == '\n')
        return at + 1;
    if (*at != '\r' || (at + 1 == end && !final))
        return NULL;
    return at + 1 < end && at[1] == '\n' ? at + 2 : at + 1;
}

/* Where the line ends, as Python's text files split them; NULL if that is not known yet. */
static Text line_end(Text at, Text end, int final) {
    Text newline = memchr(at, '\n', (size_t)(end - at));
    Text stop = newline ? newline : end;
    Text found = memchr(at, '\r', (size_t)(stop - at));
    if (!found)
        return newline ? newline + 1 : final ? end : NULL;
    if (found + 1 == newline)
        return newline + 1;
    return found + 1 < end || final ? found + 1 : NULL;
}

/* "(1.000000) can0 123#1122" */
static Text log_line(Text at, Text end, int final, struct rows *rows, int64_t row) {
    int64_t channel;
    if (!(at = read_time(at, rows->at_s + row)) || !(at = read_channel(at, rows, &channel)) ||
        !(at = read_identifier(at, '#', rows->can_id + row, rows->extended + row)) ||
        !(at = read_payload(at, rows, row)))
        return NULL;
    rows->channel[row] = (uint16_t)channel;
    return read_end(at, end, final);
}

static Text over_blanks(Text at) {
    while (is_blank(*at))
        at++;
    return at;
}

/* "[2]  11 22", then perhaps 'ASCII' to the line's end, which must be there. */
static Text read_display(Text at, Text end, int final, struct rows *rows, int64_t row) {
    uint8_t bytes[FD] = {0};
    int announced = at[1] - '0', digits = at[2] == ']' ? 1 : 2;
    if (at[0] != '[' || (unsigned)announced > 9 || at[1 + digits] != ']')
        return NULL;
    if (digits == 2 && (unsigned)at[2] - '0' > 9)
        return NULL;
    announced = digits == 2 ? 10 * announced + at[2] - '0' : announced;
    if (announced > (digits == 2 ? FD : CLASSICAL))
        return NULL;
    at += 2 + digits;
    Text first = over_blanks(at);
    if (announced && first == at)
        return NULL;
    at = first;
    for (int each = 0; each < announced; each++) {
        if (HEX[at[0]] > 15 || HEX[at[1]] > 15)
            return NULL;
        bytes[each] = (uint8_t)(HEX[at[0]] << 4 | HEX[at[1]]);
        at += 2;
        if (is_blank(*at))
            at++;
        else if (each + 1 < announced)
            return NULL;
    }
    Text behind = over_blanks(at);
    int quoted = *behind == '\'' && (at[-1] == ' ' || !announced);
    if (!put_bytes(rows, row, bytes, announced))
        return NULL;
    return quoted && behind < end ? line_end(behind, end, final) : read_end(behind, end, final);
}

/* " (001.000000)  can0  123   [2]  11 22" */
static __attribute__((noinline)) Text display_line(Text at, Text end, int final, struct rows *rows, int64_t row) {
    int64_t channel;
    if (!(at = read_time(over_blanks(at), rows->at_s + row)) ||
        !(at = read_channel(over_blanks(at), rows, &channel)) ||
        !(at = read_identifier(over_blanks(at), ' ', rows->can_id + row, rows->extended + row)))
        return NULL;
    rows->channel[row] = (uint16_t)channel;
    return read_display(over_blanks(at), end, final, rows, row);
}

/* Take whole lines of text[start:end] until the rows are full; returns where it stopped.
 * 64 bytes behind `end` are readable, and zero. */
int64_t bms_scan(Text text, int64_t start, int64_t end, int64_t final, struct rows *rows) {
    Text at = text + start, stop = text + end;
    rows->odds = rows->too_narrow = 0;
    while (at < stop && rows->used < rows->capacity) {
        Text next = log_line(at, stop, (int)final, rows, rows->used);
        if (!next && !rows->too_narrow)
            next = display_line(at, stop, (int)final, rows, rows->used);
        if (!next) {
            if (rows->too_narrow || !(next = line_end(at, stop, (int)final)))
                break;
            rows->odd_row[rows->odds] = rows->used;
            rows->odd_start[rows->odds] = at - text;
            rows->odd_end[rows->odds++] = next - text;
        }
        rows->line[rows->used++] = ++rows->lines;
        at = next;
    }
    return at - text;
}

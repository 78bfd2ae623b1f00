# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""All tracks of one source as a struct of arrays, and their motion, compiled: tracker/track_table.py and kalman.py.

Those two hold the documentation. Every field lies in a piece of memory of its own, so that the filter's loops run over
all tracks at once, several at a time.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from tracker import kalman

cdef double POSITION_STD = kalman.POSITION_STD
cdef double ASPECT_MEASUREMENT_STD = kalman.ASPECT_MEASUREMENT_STD

cdef enum:
    N_FIELDS = 24
    FIELD_BYTES = 8


cdef struct Noise:
    double pp
    double pv
    double vv


cdef class TrackTable:
    """Rows 0 to n: tracks seen in the newest frame first, then the lost ones, each group in order of arrival.

    Args:
        motion: tracker.kalman.Motion.
    """

    def __cinit__(self, motion):
        self.interval_s = motion.interval_s
        self.step_variance = motion.step_variance()
        self.start_variance = motion.start_variance()

    def __dealloc__(self):
        free(self.memory)
        free(self.spare)
        free(self.step_s)

    cdef int reserve(self, Py_ssize_t n) except -1:
        """Have memory for n tracks."""
        if n <= self.room:
            return 0
        cdef Py_ssize_t room = 2 * n, n_bytes = self.n * FIELD_BYTES, field
        cdef char* memory = <char*>malloc(N_FIELDS * room * FIELD_BYTES)
        cdef char* spare = <char*>malloc(N_FIELDS * room * FIELD_BYTES)
        cdef double* scratch = <double*>malloc(2 * room * sizeof(double))
        if memory == NULL or spare == NULL or scratch == NULL:
            free(memory)
            free(spare)
            free(scratch)
            raise MemoryError
        if self.n:
            for field in range(N_FIELDS):
                memcpy(memory + field * room * FIELD_BYTES, self.memory + field * self.room * FIELD_BYTES, n_bytes)
        free(self.memory)
        free(self.spare)
        free(self.step_s)
        self.memory, self.spare, self.step_s, self.scale, self.room = memory, spare, scratch, scratch + room, room
        self.lay_out()
        return 0

    cdef void lay_out(self) noexcept:
        """Give each field its place in memory."""
        cdef Py_ssize_t room = self.room
        cdef double* real = <double*>self.memory
        cdef long long* whole = <long long*>(real + 17 * room)
        cdef int c
        for c in range(4):
            self.position[c], self.velocity[c] = real + c * room, real + (4 + c) * room
        self.shared = Covariance(real + 8 * room, real + 9 * room, real + 10 * room)
        self.aspect = Covariance(real + 11 * room, real + 12 * room, real + 13 * room)
        self.score, self.vote, self.last_seen_s = real + 14 * room, real + 15 * room, real + 16 * room
        self.track_id, self.class_id, self.state = whole, whole + room, whole + 2 * room
        self.start_frame, self.last_frame = whole + 3 * room, whole + 4 * room
        self.detection_row, self.was_removed = whole + 5 * room, whole + 6 * room

    cdef void arrange(self, const Py_ssize_t* order, Py_ssize_t n, Py_ssize_t n_seen) noexcept:
        """Keep the n rows `order`, in that order, of which the first `n_seen` are not lost, and forget the others."""
        cdef Py_ssize_t field, i
        cdef const char* before = self.memory
        cdef char* after = self.spare
        for field in range(N_FIELDS):
            for i in range(n):
                memcpy(after + i * FIELD_BYTES, before + order[i] * FIELD_BYTES, FIELD_BYTES)
            before += self.room * FIELD_BYTES
            after += self.room * FIELD_BYTES
        self.memory, self.spare = self.spare, self.memory
        self.n, self.n_seen = n, n_seen
        self.lay_out()

    cdef void corners(self, Py_ssize_t i, double* box) noexcept:
        """The box xyxy of track i, in px."""
        cdef double half_height = self.position[HEIGHT][i] / 2
        cdef double half_width = self.position[ASPECT][i] * half_height
        box[0] = self.position[CX][i] - half_width
        box[1] = self.position[CY][i] - half_height
        box[2] = self.position[CX][i] + half_width
        box[3] = self.position[CY][i] + half_height

    cdef void corner_velocity(self, Py_ssize_t i, double* velocity) noexcept:
        """How fast the corners of track i move, in px/s."""
        cdef double half_height = self.velocity[HEIGHT][i] / 2
        cdef double half_width = (
            self.position[ASPECT][i] * self.velocity[HEIGHT][i] + self.velocity[ASPECT][i] * self.position[HEIGHT][i]
        ) / 2
        velocity[0] = self.velocity[CX][i] - half_width
        velocity[1] = self.velocity[CY][i] - half_height
        velocity[2] = self.velocity[CX][i] + half_width
        velocity[3] = self.velocity[CY][i] + half_height

    cdef Py_ssize_t start(self, const double* box) noexcept:
        """Append a track at the box xyxy and return its row; there must be room. The other fields are the caller's."""
        cdef Py_ssize_t i = self.n
        cdef double measured[4]
        cdef double height2
        cdef int c
        to_measurement(box, measured)
        height2 = measured[HEIGHT] * measured[HEIGHT]
        for c in range(4):
            self.position[c][i], self.velocity[c][i] = measured[c], 0
        self.shared.pp[i], self.shared.pv[i] = self.start_variance[0] * height2, 0
        self.shared.vv[i] = self.start_variance[1] * height2
        self.aspect.pp[i], self.aspect.pv[i], self.aspect.vv[i] = self.start_variance[2], 0, self.start_variance[3]
        self.n += 1
        return i

    cdef void predict(self, double dt_s, bint moves_new) noexcept:
        """Move the tracks on by `dt_s`; those in state NEW only if `moves_new`."""
        cdef Py_ssize_t i
        cdef int c
        cdef double moves
        for i in range(self.n):
            # A lost track keeps its height: an old trend in size soon makes the box absurd.
            if self.state[i] >= LOST:
                self.velocity[HEIGHT][i] = 0
            moves = moves_new or self.state[i] != NEW
            self.step_s[i] = dt_s * moves
            self.scale[i] = self.position[HEIGHT][i] * self.position[HEIGHT][i] * moves
        spread(self.n, self.step_s, self.scale, self.shared, noise(dt_s, self.interval_s, self.step_variance))
        for i in range(self.n):
            self.scale[i] = moves_new or self.state[i] != NEW
        spread(self.n, self.step_s, self.scale, self.aspect, noise(dt_s, self.interval_s, self.step_variance + 2))
        for c in range(4):
            move(self.n, self.step_s, self.position[c], self.velocity[c])

    cdef void correct(self, Py_ssize_t i, const double* box) noexcept:
        """Correct track i by the measured box xyxy."""
        cdef double measured[4]
        cdef double position_noise = POSITION_STD * self.position[HEIGHT][i]
        cdef double total
        cdef int c
        to_measurement(box, measured)
        position_noise = position_noise * position_noise
        total = self.shared.pp[i] + position_noise
        for c in (CX, CY, HEIGHT):
            shift(self.position[c] + i, self.velocity[c] + i, measured[c], self.shared, i, total)
        shrink(self.shared, i, position_noise, total)
        position_noise = ASPECT_MEASUREMENT_STD * ASPECT_MEASUREMENT_STD
        total = self.aspect.pp[i] + position_noise
        shift(self.position[ASPECT] + i, self.velocity[ASPECT] + i, measured[ASPECT], self.aspect, i, total)
        shrink(self.aspect, i, position_noise, total)


cdef Noise noise(double dt_s, double interval_s, const double* variance) noexcept:
    """Noise of a step over `dt_s` seconds: tracker.kalman.Motion.step_noise."""
    cdef double share = dt_s / interval_s, position = variance[0], velocity = variance[1]
    return Noise(
        share * (position + velocity * (dt_s - interval_s) * (2 * dt_s - interval_s) / 6),
        share * velocity * (dt_s - interval_s) / 2,
        share * velocity,
    )


cdef void to_measurement(const double* box, double* measured) noexcept:
    cdef double width = box[2] - box[0], height = box[3] - box[1]
    measured[CX] = box[0] + width / 2
    measured[CY] = box[1] + height / 2
    measured[ASPECT] = width / height
    measured[HEIGHT] = height


cdef void move(Py_ssize_t n, const double* step_s, double* position, const double* velocity) noexcept:
    cdef Py_ssize_t i
    for i in range(n):
        position[i] += step_s[i] * velocity[i]


cdef void spread(Py_ssize_t n, const double* step_s, const double* scale, Covariance cov, Noise noise) noexcept:
    cdef Py_ssize_t i
    for i in range(n):
        cov.pp[i] += step_s[i] * (2 * cov.pv[i] + step_s[i] * cov.vv[i]) + noise.pp * scale[i]
        cov.pv[i] += step_s[i] * cov.vv[i] + noise.pv * scale[i]
        cov.vv[i] += noise.vv * scale[i]


cdef void shift(
    double* position, double* velocity, double measured, Covariance cov, Py_ssize_t i, double total
) noexcept:
    cdef double error = measured - position[0]
    position[0] += cov.pp[i] / total * error
    velocity[0] += cov.pv[i] / total * error


cdef void shrink(Covariance cov, Py_ssize_t i, double measurement_noise, double total) noexcept:
    cov.vv[i] -= cov.pv[i] * cov.pv[i] / total
    cov.pv[i] *= measurement_noise / total
    cov.pp[i] *= measurement_noise / total

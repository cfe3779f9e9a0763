"""The one interface of memdb, kept by the embedded database and by the sync client; the async
client has the same methods, awaited.

Every option is keyword-only.  Times are UTC nanoseconds or aware datetimes.  Every method raises
the classes of `memdb.errors`; reads of a user that never wrote raise `NotFound`
(``USER_NOT_FOUND``).
"""

from memdb.types.database.database import Database
from memdb.types.database.ingest_writer import IngestWriter
from memdb.types.database.standing import Standing
from memdb.types.database.stream import Stream
from memdb.types.database.user import User

__all__ = ["Database", "IngestWriter", "Standing", "Stream", "User"]

"""The spaces of an ingest: that of the pictures, and the user's text space, in which what is heard is found."""

from __future__ import annotations

from memdb.errors import AlreadyExists, FailedPrecondition, NotFound
from memdb.text_encoder import TextEncoder, find_text_encoder
from memdb.types.database import Database, User
from memdb.types.space import Space
from perception.encoders.base import Encoder


class IngestSpaces:
    """Made by `prepare`, before any camera runs."""

    def __init__(
        self, database: Database, user: User, encoder: Encoder | None, name: str | None
    ) -> None:
        """encoder: of the pictures.  name: of their space; None for the encoder's own name of it."""
        self._database = database
        self._user = user
        self._encoder = encoder
        self._name = name
        self.of_pictures: Space | None = None
        """Where there may be any."""
        self.text_encoder: TextEncoder | None = None
        """Of the user's text space; None where it is not installed."""

    def prepare(self, *, with_video: bool) -> None:
        """Have both: the user's text space is named where there is none.  May be called again.

        Raises what the database raises.
        """
        if with_video:
            self.of_pictures = self._picture_space()
        text_space = self._text_space()
        if text_space is None:
            text_space = self.of_pictures
            if text_space is None or find_text_encoder(text_space) is None:
                text_space = self._bundled_space()
            self._user.configure(text_space=text_space.name)
        self.text_encoder = find_text_encoder(text_space)

    def of_sounds(self) -> Space:
        """The user's text space, in which clips without pictures are found.

        Raises `FailedPrecondition` (``ENCODER_MISSING``) where nothing that is installed makes vectors of it.
        """
        text_space = self._text_space()
        if text_space is None or self.text_encoder is None:
            raise FailedPrecondition(
                "what is heard without pictures is remembered in the user's text space, and no "
                "installed encoder makes vectors of it",
                reason="ENCODER_MISSING",
                field="space.model",
                value=None if text_space is None else text_space.model,
            )
        return text_space

    def _picture_space(self) -> Space:
        assert self._encoder is not None, "pictures are seen by an encoder"
        made = self._encoder.space
        name = self._name or made.name
        try:
            return self._database.create_space(
                name, dim=made.dim, metric=made.metric, model=made.model
            )
        except AlreadyExists as error:
            told = error.again()
            told.message += (
                f", and this encoder makes dim {made.dim}, {made.metric}, model {made.model!r}:"
                " --space names another"
            )
            raise told from None

    def _text_space(self) -> Space | None:
        try:
            return self._user.text_space()
        except NotFound:
            # The user is created by the first write.
            return None

    def _bundled_space(self) -> Space:
        # Imported here: an agent with another encoder loads this one's module only when it must.
        from perception.encoders.conse import BUNDLED_SPACE as bundled  # noqa: PLC0415

        return self._database.create_space(
            bundled.name, dim=bundled.dim, metric=bundled.metric, model=bundled.model
        )

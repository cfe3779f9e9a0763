"""`memdb.types.database.user_text.UserText` of an embedded user, and features of its texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from memdb.engine.one_user import OneUser
from memdb.text_encoder import find_text_encoder
from memdb.types.arrays import Array, VectorLike, as_vector
from memdb.types.checks import check_text
from memdb.types.database.user_text import UserText
from memdb.types.documented import documented_by
from memdb.types.ids import check_id
from memdb.types.operation import ConfigureUser, PutFact
from memdb.types.space import Space
from memdb.types.word_question import wants_text_feature


@documented_by(UserText)
class EmbeddedUserText(OneUser):
    """The user's text space, and what the installed encoder of it makes of texts."""

    def configure(self, *, text_space: str) -> None:
        space = self._catalog.space(check_id(text_space, "text_space"))
        self.commit(ConfigureUser(space), int, create=True)

    def text_space(self) -> Space | None:
        with self._users.use(self._id) as memory:
            return memory.view.state.text_space

    def _text_feature(
        self,
        text: str | None,
        feature: VectorLike | None,
        question_feature: VectorLike | None,
        weights: Mapping[str, float] | None,
    ) -> VectorLike | None:
        """The given feature of a question's words, or `_feature` where an arm would look at it."""
        if feature is not None or not wants_text_feature(text, question_feature, weights):
            return feature
        return self._feature(check_text(text, "text"), None)

    def _with_features(self, facts: list[PutFact]) -> list[PutFact]:
        """`_feature` of those that have none, all in one go."""
        bare = [place for place, one in enumerate(facts) if one.feature is None]
        if not bare or not self._embed_texts or not self.is_known():
            return facts
        encoder = find_text_encoder(self.text_space())
        if encoder is None:
            return facts
        rows = encoder.encode([facts[place].text for place in bare])
        made = list(facts)
        for place, row in zip(bare, rows, strict=True):
            made[place] = replace(facts[place], feature=row)
        return made

    def _feature(self, text: str | None, feature: VectorLike | None) -> Array | None:
        """The given feature, or the text's from the installed encoder of the user's text space."""
        if feature is not None:
            return as_vector(feature, "feature")
        if text is None or not self._embed_texts or not self.is_known():
            return None
        encoder = find_text_encoder(self.text_space())
        return None if encoder is None else encoder.encode([text])[0]
